//! The nearest valid name to one that is not valid.
//!
//! Separate because it is a pure function with laws of its own (it is a
//! metric), used for keys and for variables alike.

/// The candidate that a misspelt name most likely meant, the first of equals.
///
/// A name put at the wrong level (`ports` for `watch.ports`) counts as one
/// mistake. `None` only without candidates.
pub(super) fn nearest<'a>(
    given: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let distance = |candidate: &str| {
        let whole = edit_distance(given, candidate);
        whole.min(1 + edit_distance(&last(given), &last(candidate)))
    };
    candidates.into_iter().min_by_key(|candidate| distance(candidate))
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn one
/// text into the other (optimal string alignment).
pub(super) fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    // Rows of the table for the prefixes of `a` up to two characters ago, one
    // character ago, and now.
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous_a = None;
    for (row, from) in a.chars().enumerate() {
        let at = |line: &[usize], column: usize| line.get(column).copied().unwrap_or(usize::MAX);
        let mut now = vec![row + 1];
        let mut left = row + 1;
        let mut previous_b = None;
        for (column, to) in b.iter().copied().enumerate() {
            let substituted = at(&last, column).saturating_add(usize::from(from != to));
            let removed = at(&last, column + 1).saturating_add(1);
            let mut best = substituted.min(removed).min(left + 1);
            if column > 0 && previous_a == Some(to) && previous_b == Some(from) {
                best = best.min(at(&before_last, column - 1).saturating_add(1));
            }
            now.push(best);
            left = best;
            previous_b = Some(to);
        }
        before_last = std::mem::replace(&mut last, now);
        previous_a = Some(from);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_distances() {
        for (a, b, distance) in [
            ("", "", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("host", "hots", 1),
            ("watch.ports", "wacth.port", 2),
            ("\u{e9}t\u{e9}", "ete", 2),
        ] {
            assert_eq!(edit_distance(a, b), distance, "{a} {b}");
        }
    }

    #[test]
    fn a_name_at_the_wrong_level_is_found() {
        let names = ["off", "paths.keep", "watch.host", "watch.ports"];
        assert_eq!(nearest("ports", names), Some("watch.ports"));
        assert_eq!(nearest("lanes.host", names), Some("watch.host"));
        assert_eq!(nearest("watch.prots", names), Some("watch.ports"));
        assert_eq!(nearest("of", names), Some("off"));
        assert_eq!(nearest("x", []), None);
    }

    proptest! {
        #[test]
        fn it_is_symmetric_and_zero_only_for_equals(a in "[abc]{0,8}", b in "[abc]{0,8}") {
            prop_assert_eq!(edit_distance(&a, &b), edit_distance(&b, &a));
            prop_assert_eq!(edit_distance(&a, &b) == 0, a == b);
        }

        #[test]
        fn it_is_bounded_by_the_lengths(a in "\\PC{0,12}", b in "\\PC{0,12}") {
            let (a_len, b_len) = (a.chars().count(), b.chars().count());
            let distance = edit_distance(&a, &b);
            prop_assert!(distance <= a_len.max(b_len));
            prop_assert!(distance >= a_len.abs_diff(b_len));
        }

        #[test]
        fn one_edit_is_a_distance_of_one(text in "[a-f]{1,10}", at in 0usize..10, kind in 0..4) {
            let mut edited: Vec<char> = text.chars().collect();
            let at = at % edited.len();
            match kind {
                0 => edited[at] = 'z',
                1 => edited.insert(at, 'z'),
                2 => { edited.remove(at); }
                _ if at + 1 < edited.len() && edited[at] != edited[at + 1] => edited.swap(at, at + 1),
                _ => edited.push('z'),
            }
            let edited: String = edited.into_iter().collect();
            prop_assert_eq!(edit_distance(&text, &edited), 1);
        }

        #[test]
        fn a_valid_name_is_its_own_nearest(index in 0usize..1000) {
            let names: Vec<&str> = crate::config::KEYS.iter().map(|key| key.name).collect();
            let name = names[index % names.len()];
            prop_assert_eq!(nearest(name, names.iter().copied()), Some(name));
        }
    }
}
