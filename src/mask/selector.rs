//! Which columns a mask is for, where a rulebook doesn't name them one by one: by patterns of names, by type, by what is
//! written on them in the database. What is selected follows from the catalog, so a column that is added tomorrow is
//! masked tomorrow.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Column, Relation, tags};

/// Columns by what they are. All that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// `schema.table`; `*` stands for any text. Upper and lower case are one.
    #[serde(default = "Pattern::any")]
    pub relation: Pattern,
    /// The column's name; `*` stands for any text. Upper and lower case are one.
    #[serde(default = "Pattern::any")]
    pub column: Pattern,
    /// The type or domain, with its schema unless that is `pg_catalog`, without its modifiers: `app.email_address`,
    /// `character varying`. An array of it counts too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_type: Option<String>,
    /// A word in the column's comment: `pii` for `@pii`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// A SECURITY LABEL on the column, by any provider; `*` stands for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_label: Option<Pattern>,
}

/// A text in which `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Pattern(String);

impl Selector {
    /// Holds the selector against what it may be.
    ///
    /// # Errors
    /// When it would select every column of a relation, which no mask is meant for.
    pub fn check(&self) -> Result<(), String> {
        if !self.relation.0.contains(['.', '*']) {
            return Err(format!("`{}` is not `schema.table`", self.relation.0));
        }
        let by_column = !self.column.is_any() && !self.column.0.is_empty();
        let by_type = self.data_type.as_ref().is_some_and(|name| !name.is_empty());
        let by_tag = self.tag.as_ref().is_some_and(|tag| !tag.is_empty());
        let by_label = self.security_label.as_ref().is_some_and(|label| !label.0.is_empty());
        match by_column || by_type || by_tag || by_label {
            true => Ok(()),
            false => Err("a mask needs `column`, `data_type`, `tag` or `security_label`".to_owned()),
        }
    }

    /// Schema, table and column, where it names exactly one.
    #[must_use]
    pub fn one(&self) -> Option<(&str, &str, &str)> {
        let by_more = self.data_type.is_some() || self.tag.is_some() || self.security_label.is_some();
        let by_pattern = self.relation.0.contains('*') || self.column.0.contains('*');
        let (schema, table) = self.relation.0.split_once('.').filter(|_| !by_more && !by_pattern)?;
        Some((schema, table, &self.column.0))
    }

    /// Whether the mask is for `column` of `relation`.
    #[must_use]
    pub fn selects(&self, relation: &Relation, column: &Column) -> bool {
        let labelled = |label: &Pattern| column.security_labels.iter().any(|own| label.fits(own));
        self.column.fits(&column.name)
            && self.relation.fits(relation.key().as_str())
            && self.data_type.as_ref().is_none_or(|name| is_of_type(column, name))
            && self.tag.as_ref().is_none_or(|tag| is_tagged(column, tag))
            && self.security_label.as_ref().is_none_or(labelled)
    }
}

impl Pattern {
    /// What fits everything.
    #[must_use]
    pub fn any() -> Self {
        Self("*".to_owned())
    }

    /// Whether it fits everything.
    fn is_any(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte == b'*')
    }

    /// Whether `text` is spelled so. Every part between two `*` is looked for as early as possible, the last one at
    /// the end.
    fn fits(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.to_lowercase(), text.to_lowercase());
        let mut parts = pattern.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let Some((_, behind)) = rest.split_once(part) else { return false };
            rest = behind;
        }
        rest.ends_with(last)
    }
}

/// `name(10)[]` is of type `name`; so is a domain over it only by its own name.
fn is_of_type(column: &Column, name: &str) -> bool {
    let unmodified = |text: &str| {
        let (head, tail) = text.split_once('(').unwrap_or((text, ""));
        let tail = tail.split_once(')').map_or("", |(_, tail)| tail);
        format!("{head}{tail}").trim_end_matches("[]").to_lowercase()
    };
    unmodified(&column.type_name) == unmodified(name)
}

/// Whether the comment has the word `@tag`.
fn is_tagged(column: &Column, tag: &str) -> bool {
    let tag = tag.to_lowercase();
    tags(column.comment.as_deref()).any(|word| word == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern(text.to_owned())
    }

    #[test]
    fn a_star_stands_for_any_text_and_case_for_nothing() {
        for (of, text, fits) in [
            ("*email*", "work_Email_2", true),
            ("*email*", "email", true),
            ("*email*", "mail", false),
            ("public.*", "public.t", true),
            ("public.*", "hr.public.t", false),
            ("*.customers", "shop.customers", true),
            ("*.customers", "shop.customers_old", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("*ab*ab", "ab", false),
            ("*ab*ab", "abab", true),
            ("*", "", true),
            ("", "x", false),
            ("ÄÖ*", "äöü", true),
        ] {
            assert_eq!(pattern(of).fits(text), fits, "{of} {text}");
        }
    }

    #[test]
    fn a_selector_of_everything_is_refused() {
        for text in [
            "{}",
            r#"{"relation": "public.*"}"#,
            r#"{"column": "**"}"#,
            r#"{"tag": ""}"#,
            r#"{"column": ""}"#,
        ] {
            let selector: Selector = serde_json::from_str(text).unwrap();
            selector.check().expect_err(text);
        }
        for text in
            [r#"{"column": "*a*"}"#, r#"{"tag": "pii"}"#, r#"{"relation": "a.b", "data_type": "inet"}"#]
        {
            let selector: Selector = serde_json::from_str(text).unwrap();
            selector.check().unwrap();
        }
        serde_json::from_str::<Selector>(r#"{"columns": "x"}"#).unwrap_err();
    }

    #[test]
    fn types_are_told_by_their_names_and_tags_are_whole_words() {
        let column = |type_name: &str, comment: &str| Column {
            name: "x".to_owned(),
            number: 1,
            type_oid: 25,
            type_name: type_name.into(),
            base_type_oid: 25,
            base_type_kind: 'b',
            base_type_category: 'S',
            collation: None,
            not_null: false,
            generated: false,
            comment: Some(comment.to_owned()),
            security_labels: Vec::new(),
        };
        assert!(is_of_type(&column("character varying(20)", ""), "character varying"));
        assert!(is_of_type(&column("app.mail[]", ""), "app.mail"));
        assert!(is_of_type(&column("timestamp(3) with time zone", ""), "timestamp with time zone"));
        assert!(!is_of_type(&column("app.mail", ""), "mail"));
        for (comment, tagged) in [
            ("@pii", true),
            ("The number, @PII.", true),
            ("(@pii)", true),
            ("@pii_old", false),
            ("mail@pii", false),
            ("pii", false),
            ("", false),
        ] {
            assert_eq!(is_tagged(&column("text", comment), "pii"), tagged, "{comment}");
        }
    }
}
