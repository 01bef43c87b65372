//! "Did you mean": the one rule for which known word a misspelt one stands for. Uses strsim.

/// The candidate that somebody who wrote `word` most likely meant: at most a third of its letters
/// wrong, at least one but never all, case aside.
pub fn nearest<T: AsRef<str>>(word: &str, candidates: impl IntoIterator<Item = T>) -> Option<T> {
    let length = word.chars().count();
    let most = (length / 3).max(1);
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .filter(|known| known.as_ref() != word)
        .map(|known| (strsim::damerau_levenshtein(&lower, &known.as_ref().to_lowercase()), known))
        .filter(|(distance, _)| *distance <= most && *distance < length)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_enough_and_nearest() {
        assert_eq!(nearest("db_pasword", ["db_user", "db_password"]), Some("db_password"));
        assert_eq!(nearest("DB_PASSWORD", ["db_password"]), Some("db_password"));
        assert_eq!(nearest("xyz", ["db_password"]), None);
        assert_eq!(nearest("b", ["a"]), None, "no letter of it is there");
        assert_eq!(nearest("B", ["b"]), Some("b"));
        assert_eq!(nearest("same", ["same"]), None, "what was written is not what was meant");
    }
}
