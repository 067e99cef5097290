//! `If-Match`, as clients and the proxies in between write it.

use std::str::FromStr;

use http::{HeaderMap, header::IF_MATCH};

/// The value of `If-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum IfMatch<T> {
    /// There is no such header.
    Absent,
    /// `*`: any version.
    Any,
    /// One of these versions. Tags that this server cannot have given are left out, since they match nothing.
    OneOf(Vec<T>),
}

/// What proxies add to a tag when they compress a response.
const ENCODING_SUFFIXES: [&str; 4] = ["-gzip", "-br", "-zstd", "-deflate"];

impl<T: FromStr> IfMatch<T> {
    /// Reads the header: tags with or without quotes, weak or strong. A proxy that compresses a response weakens its
    /// tag (nginx) or adds a suffix to it (Apache, Caddy); the content that the tag stands for is the same.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        if !headers.contains_key(IF_MATCH) {
            return Self::Absent;
        }
        let lines = headers.get_all(IF_MATCH).iter().filter_map(|line| line.to_str().ok());
        let tags: Vec<&str> = lines.flat_map(|line| line.split(',')).map(tag).collect();
        if tags == ["*"] {
            return Self::Any;
        }
        Self::OneOf(tags.into_iter().filter_map(|tag| tag.parse().ok()).collect())
    }
}

fn tag(text: &str) -> &str {
    let text = text.trim();
    let strong = text.strip_prefix("W/").filter(|rest| rest.starts_with('"')).unwrap_or(text);
    let tag = strong.trim_matches('"');
    ENCODING_SUFFIXES.iter().find_map(|suffix| tag.strip_suffix(suffix)).unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asked(lines: &[&'static str]) -> IfMatch<u64> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(IF_MATCH, HeaderValue::from_static(line));
        }
        IfMatch::of(&headers)
    }

    #[test]
    fn a_tag_is_quoted_or_not() {
        assert_eq!(asked(&[]), IfMatch::Absent);
        assert_eq!(asked(&["*"]), IfMatch::Any);
        for seven in ["7", "\"7\"", " \"7\" "] {
            assert_eq!(asked(&[seven]), IfMatch::OneOf(vec![7]), "{seven}");
        }
        assert_eq!(asked(&["\"1\", 2", "W/\"3\""]), IfMatch::OneOf(vec![1, 2, 3]));
        for nothing in ["", "\"\"", "-1", "one", "99999999999999999999", "W/7", "w/\"7\"", "-gzip"] {
            assert_eq!(asked(&[nothing]), IfMatch::OneOf(Vec::new()), "{nothing}");
        }
    }

    #[test]
    fn a_tag_that_a_compressing_proxy_changed_matched_nothing() {
        for seven in ["W/\"7\"", " W/\"7\" ", "\"7-gzip\"", "W/\"7-br\"", "\"7-zstd\""] {
            assert_eq!(asked(&[seven]), IfMatch::OneOf(vec![7]), "{seven}");
        }
    }
}
