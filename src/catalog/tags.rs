//! Tags: words that begin with `@` in a comment, as `COMMENT ON COLUMN t.c IS 'home address @pii'`.

use std::collections::BTreeSet;

use super::Relation;

/// The tags in a comment, in lower case and without the `@`.
pub fn tags(comment: Option<&str>) -> impl Iterator<Item = String> {
    let words = comment.unwrap_or_default().split(|c: char| !is_of_a_tag(c));
    words.filter_map(|word| word.strip_prefix('@')).filter(|tag| !tag.is_empty()).map(str::to_lowercase)
}

impl Relation {
    /// The tags of the relation itself, ordered.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        let tags: BTreeSet<String> = tags(self.comment.as_deref()).collect();
        tags.into_iter().collect()
    }

    /// The tags of those of its columns that are called so, ordered.
    #[must_use]
    pub fn tags_of<'a>(&self, columns: impl IntoIterator<Item = &'a String>) -> Vec<String> {
        let columns = columns.into_iter().filter_map(|name| self.column(name));
        let tags: BTreeSet<String> = columns.flat_map(|column| tags(column.comment.as_deref())).collect();
        tags.into_iter().collect()
    }
}

fn is_of_a_tag(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '@' | '_' | '-' | ':')
}
