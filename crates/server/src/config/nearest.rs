//! "Did you mean …?"

/// The candidate with the fewest changed letters, if that is at most a third of the word (two in a short word, for two
/// swapped letters).
pub(super) fn nearest(word: &str, candidates: impl IntoIterator<Item = impl AsRef<str>>) -> Option<String> {
    let word: Vec<char> = word.chars().take(LONGEST).collect();
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, candidate.as_ref()), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= (word.len() / 3).max(2))
        .map(|(_, candidate)| candidate.as_ref().to_owned())
}

/// No name is longer. Beyond this length a word is far from every candidate anyway.
const LONGEST: usize = 64;

/// The Levenshtein distance, computed row by row.
fn distance(word: &[char], candidate: &str) -> usize {
    let mut row: Vec<usize> = (0..=word.len()).collect();
    for (line, letter) in candidate.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        for (above, other) in row.iter_mut().skip(1).zip(word) {
            left = (diagonal + usize::from(letter != *other)).min(*above + 1).min(left + 1);
            diagonal = std::mem::replace(above, left);
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_changed_letters() {
        let letters: Vec<char> = "kitten".chars().collect();
        assert_eq!(distance(&letters, "sitting"), 3);
        assert_eq!(distance(&letters, "kitten"), 0);
        assert_eq!(distance(&letters, ""), 6);
        assert_eq!(distance(&[], "abc"), 3);
    }

    #[test]
    fn only_similar_names_are_suggested() {
        assert_eq!(nearest("prot", ["host", "port"]), Some("port".to_owned()));
        assert_eq!(nearest("databse_url", ["host", "database_url"]), Some("database_url".to_owned()));
        assert_eq!(nearest("favourite_colour", ["host", "port"]), None);
    }
}
