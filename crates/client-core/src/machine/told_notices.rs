//! Which notices the application was told, as the server sends each until the client has confirmed it.

use std::collections::VecDeque;

use aldis_protocol::RequestId;

/// More than can wait for a device at once.
const LIMIT: usize = 256;

/// The ids of the last notices.
#[derive(Debug, Default)]
pub(super) struct ToldNotices(VecDeque<RequestId>);

impl ToldNotices {
    /// Whether this notice is not among the last ones; it is from now on. A notice without an id is always new.
    pub(super) fn is_new(&mut self, id: Option<RequestId>) -> bool {
        let Some(id) = id else { return true };
        if self.0.contains(&id) {
            return false;
        }
        if self.0.len() == LIMIT {
            self.0.pop_front();
        }
        self.0.push_back(id);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_told_once_while_it_can_come_again() {
        let mut told = ToldNotices::default();
        let id = |number: usize| Some(format!("n-{number}").parse().unwrap());
        assert!((0..LIMIT).all(|number| told.is_new(id(number))));
        assert!((0..LIMIT).all(|number| !told.is_new(id(number))));
        assert!(told.is_new(id(LIMIT)));
        assert!(told.is_new(id(0)), "the oldest is forgotten");
        assert!(told.is_new(None) && told.is_new(None));
    }
}
