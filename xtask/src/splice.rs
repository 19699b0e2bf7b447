//! Tables that are written into the README, each between two lines of its own.
//!
//! Separate because several verbs measure, and each replaces only its table.

use anyhow::Context as _;

/// The text with another table between the lines `<!-- NAME:begin -->` and
/// `<!-- NAME:end -->`.
pub(crate) fn replace(text: &str, name: &str, table: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("<!-- {name}:begin -->"), format!("<!-- {name}:end -->"));
    let parts = text.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let (before, after) =
        parts.with_context(|| format!("README.md has no lines `{begin}` and `{end}`"))?;
    Ok(format!("{before}{begin}\n\n{}\n\n{end}{after}", table.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_replaced_and_all_else_stays() {
        let text = "# a\n<!-- cost:begin -->\nold\n<!-- cost:end -->\nb\n";
        let new = replace(text, "cost", "new\n").unwrap();
        assert_eq!(new, "# a\n<!-- cost:begin -->\n\nnew\n\n<!-- cost:end -->\nb\n");
        assert_eq!(replace(&new, "cost", "new").unwrap(), new);
        assert!(replace(text, "accuracy", "new").is_err());
        assert!(replace("# a\n", "cost", "new").is_err());
    }
}
