//! What a parse tree holds anywhere in it, and whether two trees are the same.
//!
//! The walk goes through serde, so it reaches every field of every node kind that the grammar knows, also those
//! that no code of ours names: a relation can't hide from it.

use std::collections::HashSet;

use serde::Serialize;
use serde::ser::{self, Impossible};
use sha2::{Digest, Sha256};

/// What stands in a tree, in whatever place.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Every relation name, CTE references included; names after `FOR UPDATE OF` are aliases and left out.
    pub(super) relations: Vec<Mention>,
    /// Every column reference.
    pub(super) references: Vec<Reference>,
    /// Every text: names, aliases, literals.
    pub(super) texts: HashSet<String>,
    /// Names of common table expressions.
    pub(super) ctes: HashSet<String>,
    /// Columns named by USING.
    pub(super) joined_using: Vec<String>,
    /// Aliases of joins: they stand for the columns of all that they join.
    pub(super) join_aliases: HashSet<String>,
    /// Whether a join is NATURAL.
    pub(super) natural: bool,
    /// Whether a join has an alias that renames its columns.
    pub(super) join_renames: bool,
    wrote: bool,
    path: Vec<&'static str>,
    mention: Mention,
    fields: Vec<Option<String>>,
}

/// A relation name as written.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Mention {
    /// The schema; empty where the name is bare.
    pub(super) schema: String,
    /// The relation's name.
    pub(super) name: String,
    /// Whether its alias renames columns.
    pub(super) renames: bool,
    /// The alias; empty without one.
    pub(super) alias: String,
}

impl Mention {
    /// The schema, where the name has one.
    pub(super) fn schema(&self) -> Option<&str> {
        Some(self.schema.as_str()).filter(|schema| !schema.is_empty())
    }
}

/// A column reference as written.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    /// Its parts; `None` is `*`.
    pub(super) fields: Vec<Option<String>>,
    /// Where it stands.
    pub(super) place: Place,
    /// Whether it stands right in a function call.
    pub(super) in_call: bool,
}

/// Where a reference stands, as far as writes care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Outside RETURNING.
    Body,
    /// In RETURNING itself.
    Returning,
    /// In a subquery of RETURNING.
    ReturningSubquery,
}

impl Survey {
    /// Walks `tree`.
    pub(super) fn of(tree: &impl Serialize) -> Result<Self, Unwalkable> {
        let mut survey = Self::default();
        tree.serialize(Walk { visitor: &mut survey, field: "" })?;
        Ok(survey)
    }

    /// Whether `*` stands anywhere but in `count(*)`.
    pub(super) fn star(&self) -> bool {
        self.references.iter().any(|reference| reference.fields.last().is_some_and(Option::is_none))
    }

    /// Whether a statement in it changes rows.
    pub(super) fn writes(&self) -> bool {
        self.wrote
    }

    /// Whether any reference ends in `name`: a column, or a whole row of an alias.
    pub(super) fn refers_to(&self, name: &str) -> bool {
        self.references.iter().any(|reference| reference.last() == Some(name))
    }

    fn parents(&self) -> (&'static str, &'static str) {
        let mut up = self.path.iter().rev().copied();
        (up.next().unwrap_or_default(), up.next().unwrap_or_default())
    }

    fn place(&self) -> Place {
        let Some(at) = self.path.iter().rposition(|kind| *kind == "ReturningClause") else {
            return Place::Body;
        };
        match self.path.iter().skip(at).any(|kind| *kind == "SubLink") {
            true => Place::ReturningSubquery,
            false => Place::Returning,
        }
    }
}

impl Reference {
    /// What the last part belongs to, where the reference says so.
    pub(super) fn qualifier(&self) -> Option<&str> {
        self.fields.iter().rev().nth(1).and_then(Option::as_deref)
    }

    /// The last part, where it is a name.
    pub(super) fn last(&self) -> Option<&str> {
        self.fields.last().and_then(Option::as_deref)
    }
}

impl Visitor for Survey {
    fn open(&mut self, kind: &'static str) {
        match kind {
            "RangeVar" => self.mention = Mention::default(),
            "ColumnRef" => self.fields.clear(),
            "AStar" if self.path.last() == Some(&"ColumnRef") => self.fields.push(None),
            "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => self.wrote = true,
            _ => {}
        }
        self.path.push(kind);
    }

    fn close(&mut self) {
        let kind = self.path.pop().unwrap_or_default();
        if kind == "RangeVar" && self.path.last() != Some(&"LockingClause") {
            self.relations.push(std::mem::take(&mut self.mention));
        }
        if kind == "ColumnRef" {
            let place = self.place();
            let in_call = self.path.last() == Some(&"FuncCall");
            self.references.push(Reference { fields: std::mem::take(&mut self.fields), place, in_call });
        }
    }

    fn text(&mut self, field: &'static str, value: &str) {
        let (kind, parent) = self.parents();
        match (kind, field) {
            ("RangeVar", "schemaname") => value.clone_into(&mut self.mention.schema),
            ("RangeVar", "relname") => value.clone_into(&mut self.mention.name),
            ("Alias", "aliasname") if parent == "RangeVar" => value.clone_into(&mut self.mention.alias),
            ("Alias", "aliasname") if parent == "JoinExpr" => {
                self.join_aliases.insert(value.to_owned());
            }
            ("CommonTableExpr", "ctename") => {
                self.ctes.insert(value.to_owned());
            }
            ("String", _) if parent == "ColumnRef" => self.fields.push(Some(value.to_owned())),
            ("String", _) if parent == "JoinExpr" => self.joined_using.push(value.to_owned()),
            ("String", _) if parent == "Alias" => {
                match self.path.iter().rev().nth(2) {
                    Some(&"RangeVar") => self.mention.renames = true,
                    Some(&"JoinExpr") => self.join_renames = true,
                    _ => {}
                };
            }
            _ => {}
        }
        if !value.is_empty() && !self.texts.contains(value) {
            self.texts.insert(value.to_owned());
        }
    }

    fn number(&mut self, field: &'static str, value: i128) {
        if field == "is_natural" && value != 0 {
            self.natural = true;
        }
    }
}

/// The kind of a node, as the grammar calls it.
pub(super) fn kind(node: &impl Serialize) -> &'static str {
    let mut first = First("node");
    // A node that can't be walked has no name that could be said.
    match node.serialize(Walk { visitor: &mut first, field: "" }) {
        Ok(()) | Err(_) => first.0,
    }
}

struct First(&'static str);

impl Visitor for First {
    fn open(&mut self, kind: &'static str) {
        if self.0 == "node" {
            self.0 = kind;
        }
    }

    fn close(&mut self) {}

    fn text(&mut self, _field: &'static str, _value: &str) {}

    fn number(&mut self, _field: &'static str, _value: i128) {}
}

/// A digest of `tree` without positions in the text: equal for trees that mean the same text.
pub(super) fn digest(tree: &impl Serialize) -> Result<[u8; 32], Unwalkable> {
    let mut sum = Sum { hash: Sha256::new(), parts: Vec::with_capacity(PARTS_BYTES) };
    tree.serialize(Walk { visitor: &mut sum, field: "" })?;
    Ok(sum.hash.chain_update(&sum.parts).finalize().into())
}

struct Sum {
    hash: Sha256,
    /// What is to be hashed next: most parts are smaller than a block.
    parts: Vec<u8>,
}

impl Sum {
    fn part(&mut self, tag: u8, field: &str, value: &[u8]) {
        self.parts.push(tag);
        for part in [field.as_bytes(), value] {
            self.parts.extend_from_slice(&part.len().to_be_bytes());
            self.parts.extend_from_slice(part);
        }
        if self.parts.len() >= PARTS_BYTES {
            self.hash.update(&self.parts);
            self.parts.clear();
        }
    }
}

impl Visitor for Sum {
    fn open(&mut self, kind: &'static str) {
        self.part(b'(', "", kind.as_bytes());
    }

    fn close(&mut self) {
        self.part(b')', "", &[]);
    }

    fn text(&mut self, field: &'static str, value: &str) {
        self.part(b't', field, value.as_bytes());
    }

    fn number(&mut self, field: &'static str, value: i128) {
        if !POSITIONS.contains(&field) {
            self.part(b'n', field, &value.to_be_bytes());
        }
    }
}

/// How much of a tree is hashed at once.
const PARTS_BYTES: usize = 8 * 1024;

/// Fields that hold positions in the text.
const POSITIONS: [&str; 8] = [
    "location",
    "arg_location",
    "stmt_location",
    "stmt_len",
    "list_start",
    "list_end",
    "rexpr_list_start",
    "rexpr_list_end",
];

/// Sees a tree in order.
trait Visitor {
    fn open(&mut self, kind: &'static str);
    fn close(&mut self);
    fn text(&mut self, field: &'static str, value: &str);
    fn number(&mut self, field: &'static str, value: i128);
}

/// The tree holds something that no parse tree holds.
#[derive(Debug, thiserror::Error)]
#[error("the parse tree could not be walked: {0}")]
pub(super) struct Unwalkable(String);

impl ser::Error for Unwalkable {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// A serializer that writes nothing and tells its visitor everything.
struct Walk<'v, V> {
    visitor: &'v mut V,
    field: &'static str,
}

macro_rules! numbers {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, value: $type) -> Result<(), Unwalkable> {
            self.visitor.number(self.field, i128::from(value));
            Ok(())
        })*
    };
}

impl<'v, V: Visitor> ser::Serializer for Walk<'v, V> {
    type Ok = ();
    type Error = Unwalkable;
    type SerializeSeq = Open<'v, V>;
    type SerializeTuple = Impossible<(), Unwalkable>;
    type SerializeTupleStruct = Impossible<(), Unwalkable>;
    type SerializeTupleVariant = Impossible<(), Unwalkable>;
    type SerializeMap = Impossible<(), Unwalkable>;
    type SerializeStruct = Open<'v, V>;
    type SerializeStructVariant = Impossible<(), Unwalkable>;

    numbers!(
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64
    );

    fn serialize_str(self, value: &str) -> Result<(), Unwalkable> {
        self.visitor.text(self.field, value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Unwalkable> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unwalkable> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<(), Unwalkable> {
        value.serialize(self)
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Self::SerializeSeq, Unwalkable> {
        // The digest needs to know which field a list belongs to and where it ends; for paths it is no level.
        self.visitor.number(self.field, i128::MAX);
        Ok(Open { visitor: self.visitor, field: self.field, list: true })
    }

    fn serialize_struct(
        self,
        name: &'static str,
        _fields: usize,
    ) -> Result<Self::SerializeStruct, Unwalkable> {
        match name {
            // The wrapper around every node kind is no level of its own.
            "Node" => Ok(Open { visitor: self.visitor, field: self.field, list: true }),
            _ => {
                self.visitor.number(self.field, i128::MIN);
                self.visitor.open(name);
                Ok(Open { visitor: self.visitor, field: self.field, list: false })
            }
        }
    }

    fn serialize_f32(self, _value: f32) -> Result<(), Unwalkable> {
        Err(unexpected("f32"))
    }

    fn serialize_f64(self, _value: f64) -> Result<(), Unwalkable> {
        Err(unexpected("f64"))
    }

    fn serialize_char(self, _value: char) -> Result<(), Unwalkable> {
        Err(unexpected("char"))
    }

    fn serialize_bytes(self, _value: &[u8]) -> Result<(), Unwalkable> {
        Err(unexpected("bytes"))
    }

    fn serialize_unit(self) -> Result<(), Unwalkable> {
        Err(unexpected("unit"))
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), Unwalkable> {
        Err(unexpected(name))
    }

    fn serialize_unit_variant(self, name: &'static str, _: u32, _: &'static str) -> Result<(), Unwalkable> {
        Err(unexpected(name))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _value: &T,
    ) -> Result<(), Unwalkable> {
        Err(unexpected(name))
    }

    fn serialize_tuple(self, _length: usize) -> Result<Self::SerializeTuple, Unwalkable> {
        Err(unexpected("tuple"))
    }

    fn serialize_tuple_struct(
        self,
        name: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeTupleStruct, Unwalkable> {
        Err(unexpected(name))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeTupleVariant, Unwalkable> {
        Err(unexpected(name))
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Self::SerializeMap, Unwalkable> {
        Err(unexpected("map"))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeStructVariant, Unwalkable> {
        Err(unexpected(name))
    }
}

/// A struct or list that is being walked.
struct Open<'v, V> {
    visitor: &'v mut V,
    field: &'static str,
    list: bool,
}

impl<V: Visitor> ser::SerializeStruct for Open<'_, V> {
    type Ok = ();
    type Error = Unwalkable;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Unwalkable> {
        // The oneof inside a node keeps the name of the field that holds the node.
        let field = if self.list { self.field } else { key };
        value.serialize(Walk { visitor: &mut *self.visitor, field })
    }

    fn end(self) -> Result<(), Unwalkable> {
        if !self.list {
            self.visitor.close();
        }
        Ok(())
    }
}

impl<V: Visitor> ser::SerializeSeq for Open<'_, V> {
    type Ok = ();
    type Error = Unwalkable;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwalkable> {
        value.serialize(Walk { visitor: &mut *self.visitor, field: self.field })
    }

    fn end(self) -> Result<(), Unwalkable> {
        self.visitor.number(self.field, i128::MAX - 1);
        Ok(())
    }
}

fn unexpected(what: &str) -> Unwalkable {
    Unwalkable(format!("it holds a {what}"))
}
