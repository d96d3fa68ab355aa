//! A serializer that writes only some parts of a document: those below given paths.
//!
//! Two documents of one shape give the same bytes only if they are the same in every one of these parts: each value
//! says what it is and where it ends.

use std::fmt::{self, Display};

use serde::ser::{self, Serialize, Serializer};
use serde_json::Value;

/// Parts of a document, as a tree of names. An element of a list is part of the whole list.
#[derive(Debug, Default, Clone)]
pub(super) struct Paths {
    whole: bool,
    below: Vec<(String, Self)>,
}

impl Paths {
    /// Adds what lies at `path`; the empty path is the whole document.
    pub(super) fn add(&mut self, path: &[String]) {
        let Some((name, rest)) = path.split_first() else {
            self.whole = true;
            return;
        };
        if !self.below.iter().any(|(known, _)| known == name) {
            self.below.push((name.clone(), Self::default()));
        }
        if let Some((_, below)) = self.below.iter_mut().find(|(known, _)| known == name) {
            below.add(rest);
        }
    }

    /// What is wanted of the field called `name`.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        if self.whole {
            return Some(self);
        }
        self.below.iter().find(|(known, _)| known == name).map(|(_, below)| below)
    }
}

/// Appends those parts of `document` that `paths` name to `to`. `None` where it can't be written down.
pub(super) fn write(document: &impl Serialize, paths: &Paths, to: &mut Vec<u8>) -> Option<()> {
    document.serialize(Projector { to, paths }).ok()
}

/// `document` without what `paths` don't name.
pub(super) fn pruned(document: Value, paths: &Paths) -> Value {
    let Value::Object(fields) = document else { return document };
    if paths.whole {
        return Value::Object(fields);
    }
    let kept = fields.into_iter().filter_map(|(name, value)| {
        let below = paths.field(&name)?;
        Some((name, pruned(value, below)))
    });
    Value::Object(kept.collect())
}

/// Everything below a list, which paths don't lead into.
static WHOLE: Paths = Paths { whole: true, below: Vec::new() };

struct Projector<'a> {
    to: &'a mut Vec<u8>,
    paths: &'a Paths,
}

impl Projector<'_> {
    fn tag(&mut self, tag: Tag) {
        self.to.push(tag as u8);
    }

    fn length(&mut self, length: usize) {
        self.to.extend_from_slice(&u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.to.extend_from_slice(text.as_bytes());
    }
}

/// What a value is.
#[derive(Clone, Copy)]
enum Tag {
    Nothing,
    False,
    True,
    Signed,
    Unsigned,
    Float,
    Text,
    Bytes,
    Variant,
    List,
    Fields,
    Element,
    Field,
    End,
}

impl<'a> Serializer for Projector<'a> {
    type Ok = ();
    type Error = Unwritable;
    type SerializeSeq = Parts<'a>;
    type SerializeTuple = Parts<'a>;
    type SerializeTupleStruct = Parts<'a>;
    type SerializeTupleVariant = Parts<'a>;
    type SerializeMap = Parts<'a>;
    type SerializeStruct = Parts<'a>;
    type SerializeStructVariant = Parts<'a>;

    fn serialize_bool(mut self, value: bool) -> Result<(), Unwritable> {
        self.tag(if value { Tag::True } else { Tag::False });
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result<(), Unwritable> {
        self.serialize_i64(i64::from(value))
    }

    fn serialize_i16(self, value: i16) -> Result<(), Unwritable> {
        self.serialize_i64(i64::from(value))
    }

    fn serialize_i32(self, value: i32) -> Result<(), Unwritable> {
        self.serialize_i64(i64::from(value))
    }

    fn serialize_i64(mut self, value: i64) -> Result<(), Unwritable> {
        self.tag(Tag::Signed);
        self.to.extend_from_slice(&value.to_be_bytes());
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Result<(), Unwritable> {
        self.serialize_u64(u64::from(value))
    }

    fn serialize_u16(self, value: u16) -> Result<(), Unwritable> {
        self.serialize_u64(u64::from(value))
    }

    fn serialize_u32(self, value: u32) -> Result<(), Unwritable> {
        self.serialize_u64(u64::from(value))
    }

    fn serialize_u64(mut self, value: u64) -> Result<(), Unwritable> {
        self.tag(Tag::Unsigned);
        self.to.extend_from_slice(&value.to_be_bytes());
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<(), Unwritable> {
        self.serialize_f64(f64::from(value))
    }

    fn serialize_f64(mut self, value: f64) -> Result<(), Unwritable> {
        self.tag(Tag::Float);
        self.to.extend_from_slice(&value.to_bits().to_be_bytes());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Unwritable> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(mut self, value: &str) -> Result<(), Unwritable> {
        self.tag(Tag::Text);
        self.text(value);
        Ok(())
    }

    fn serialize_bytes(mut self, value: &[u8]) -> Result<(), Unwritable> {
        self.tag(Tag::Bytes);
        self.length(value.len());
        self.to.extend_from_slice(value);
        Ok(())
    }

    fn serialize_none(mut self) -> Result<(), Unwritable> {
        self.tag(Tag::Nothing);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unwritable> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Unwritable> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Unwritable> {
        self.serialize_none()
    }

    fn serialize_unit_variant(
        mut self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), Unwritable> {
        self.tag(Tag::Variant);
        self.text(variant);
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Unwritable> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Unwritable> {
        self.tag(Tag::Variant);
        self.text(variant);
        value.serialize(Projector { to: self.to, paths: &WHOLE })
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Parts<'a>, Unwritable> {
        Ok(Parts::begin(self, Tag::List))
    }

    fn serialize_tuple(self, _length: usize) -> Result<Parts<'a>, Unwritable> {
        Ok(Parts::begin(self, Tag::List))
    }

    fn serialize_tuple_struct(self, _name: &'static str, _length: usize) -> Result<Parts<'a>, Unwritable> {
        Ok(Parts::begin(self, Tag::List))
    }

    fn serialize_tuple_variant(
        mut self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Parts<'a>, Unwritable> {
        self.tag(Tag::Variant);
        self.text(variant);
        Ok(Parts::begin(self, Tag::List))
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Parts<'a>, Unwritable> {
        Ok(Parts::begin(self, Tag::Fields))
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Parts<'a>, Unwritable> {
        Ok(Parts::begin(self, Tag::Fields))
    }

    fn serialize_struct_variant(
        mut self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Parts<'a>, Unwritable> {
        self.tag(Tag::Variant);
        self.text(variant);
        Ok(Parts::begin(Projector { to: self.to, paths: &WHOLE }, Tag::Fields))
    }
}

/// What a value consists of, one after the other.
struct Parts<'a> {
    to: &'a mut Vec<u8>,
    paths: &'a Paths,
    key: String,
}

impl<'a> Parts<'a> {
    fn begin(mut projector: Projector<'a>, tag: Tag) -> Self {
        projector.tag(tag);
        Self { to: projector.to, paths: projector.paths, key: String::new() }
    }

    fn element(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Unwritable> {
        self.to.push(Tag::Element as u8);
        value.serialize(Projector { to: self.to, paths: &WHOLE })
    }

    fn field(&mut self, name: &str, value: &(impl Serialize + ?Sized)) -> Result<(), Unwritable> {
        let Some(paths) = self.paths.field(name) else { return Ok(()) };
        let mut projector = Projector { to: self.to, paths };
        projector.tag(Tag::Field);
        projector.text(name);
        value.serialize(projector)
    }

    fn finish(self) {
        self.to.push(Tag::End as u8);
    }
}

/// Implements one of serde's traits for what consists of elements.
macro_rules! elements {
    ($trait:ident, $method:ident) => {
        impl ser::$trait for Parts<'_> {
            type Ok = ();
            type Error = Unwritable;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
                self.element(value)
            }

            fn end(self) -> Result<(), Unwritable> {
                self.finish();
                Ok(())
            }
        }
    };
}

/// Implements one of serde's traits for what consists of fields.
macro_rules! fields {
    ($trait:ident) => {
        impl ser::$trait for Parts<'_> {
            type Ok = ();
            type Error = Unwritable;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), Unwritable> {
                self.field(key, value)
            }

            fn end(self) -> Result<(), Unwritable> {
                self.finish();
                Ok(())
            }
        }
    };
}

elements!(SerializeSeq, serialize_element);
elements!(SerializeTuple, serialize_element);
elements!(SerializeTupleStruct, serialize_field);
elements!(SerializeTupleVariant, serialize_field);
fields!(SerializeStruct);
fields!(SerializeStructVariant);

impl ser::SerializeMap for Parts<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unwritable> {
        let key = serde_json::to_value(key).map_err(|_| Unwritable)?;
        self.key = key.as_str().ok_or(Unwritable)?.to_owned();
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        let key = std::mem::take(&mut self.key);
        self.field(&key, value)
    }

    fn end(self) -> Result<(), Unwritable> {
        self.finish();
        Ok(())
    }
}

/// A value that has no place in a document.
#[derive(Debug)]
pub(super) struct Unwritable;

impl Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document can't hold this value")
    }
}

impl std::error::Error for Unwritable {}

impl ser::Error for Unwritable {
    fn custom<T: Display>(_message: T) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn bytes(document: &Value, paths: &[&[&str]]) -> Vec<u8> {
        let mut wanted = Paths::default();
        for path in paths {
            let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
            wanted.add(&path);
        }
        let mut bytes = Vec::new();
        write(document, &wanted, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_no_path_names_leaves_no_trace() {
        let one = json!({"a": {"b": 1, "c": [1, 2]}, "d": "x"});
        let two = json!({"a": {"b": 1, "c": [3]}, "d": "y", "e": null});
        assert_eq!(bytes(&one, &[&["a", "b"]]), bytes(&two, &[&["a", "b"]]));
        assert_ne!(bytes(&one, &[&["a"]]), bytes(&two, &[&["a"]]));
        assert_ne!(bytes(&one, &[&["a", "b"], &["d"]]), bytes(&two, &[&["a", "b"], &["d"]]));
        assert_ne!(bytes(&one, &[&[]]), bytes(&two, &[&[]]));
    }

    #[test]
    fn documents_that_differ_have_bytes_that_differ() {
        let all = [
            json!(null),
            json!(false),
            json!(0),
            json!(0.0),
            json!(""),
            json!([]),
            json!({}),
            json!([[]]),
            json!([{}]),
            json!(["a", "b"]),
            json!(["ab"]),
            json!(["a,b"]),
            json!({"a": "b"}),
            json!({"ab": ""}),
            json!({"a": null}),
            json!({"a": {"b": 1}, "c": 2}),
            json!({"a": {"b": 1, "c": 2}}),
            json!([1, [2, 3]]),
            json!([[1, 2], 3]),
            json!("\u{0}"),
            json!(-1),
            json!(1),
        ];
        for (at, one) in all.iter().enumerate() {
            for other in &all[at + 1..] {
                assert_ne!(bytes(one, &[&[]]), bytes(other, &[&[]]), "{one} and {other}");
            }
        }
    }

    #[test]
    fn a_path_into_a_list_wants_the_whole_list() {
        let (one, two) = (json!({"a": [{"b": 1, "c": 1}]}), json!({"a": [{"b": 1, "c": 2}]}));
        assert_ne!(bytes(&one, &[&["a", "b"]]), bytes(&two, &[&["a", "b"]]));
    }
}
