//! Types by their OIDs: what they are called, and how their values are read.

use crate::catalog::{Snapshot, Type};

/// A type as far as its values are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Kind {
    /// As PostgreSQL calls it.
    pub(in super::super) name: String,
    /// How its values are read.
    pub(super) shape: Shape,
}

/// How the text of a value is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// `t` and `f`.
    Boolean,
    /// A JSON number where it is exact.
    Integer,
    /// A JSON number, but for `NaN` and the infinities.
    Float,
    /// JSON, with all its keys in order of the alphabet.
    Document,
    /// Bytes in hexadecimal.
    Bytes,
    /// A date with a time, or a time with a zone.
    Time,
    /// `{...}` of these.
    Array(Box<Self>),
    /// As PostgreSQL prints it.
    Text,
}

impl Kind {
    /// The type with this OID: PostgreSQL's own, or one that `catalog` has.
    pub(in super::super) fn of(oid: u32, catalog: Option<&Snapshot>) -> Self {
        let (name, shape) = found(oid, catalog, MOST_LEVELS);
        Self { name, shape }
    }

    /// The same, by another name.
    pub(in super::super) fn called(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// Whether its values are arrays with commas.
    pub(in super::super) fn is_array(&self) -> bool {
        matches!(self.shape, Shape::Array(_))
    }

    /// What its values are written in, where the text alone does not say.
    pub(in super::super) fn encoding(&self) -> Option<&'static str> {
        match &self.shape {
            Shape::Bytes => Some(HEXADECIMAL),
            Shape::Array(element) if **element == Shape::Bytes => Some(HEXADECIMAL),
            Shape::Boolean
            | Shape::Integer
            | Shape::Float
            | Shape::Document
            | Shape::Time
            | Shape::Array(..)
            | Shape::Text => None,
        }
    }
}

fn found(oid: u32, catalog: Option<&Snapshot>, levels: u8) -> (String, Shape) {
    if let Some((oid, _, name)) = OWN.iter().find(|(own, _, _)| *own == oid) {
        return ((*name).to_owned(), shape(*oid));
    }
    if let Some((oid, _, name)) = OWN.iter().find(|(_, array, _)| *array == oid && oid != 0) {
        let delimiter = if *oid == BOX { ';' } else { ',' };
        return (format!("{name}[]"), array(shape(*oid), delimiter));
    }
    let unknown = || (format!("oid {oid}"), Shape::Text);
    let Some(levels) = levels.checked_sub(1) else { return unknown() };
    let Some(Type { name, element, delimiter, base, .. }) = catalog.and_then(|known| known.type_by_oid(oid))
    else {
        return unknown();
    };
    let shape = match (*element, *base) {
        (0, 0) => Shape::Text,
        (0, base) => found(base, catalog, levels).1,
        (element, _) => array(found(element, catalog, levels).1, *delimiter),
    };
    (name.clone(), shape)
}

/// An array whose elements have something else than commas between them stays text, which can be passed back.
fn array(element: Shape, delimiter: char) -> Shape {
    if delimiter == ',' { Shape::Array(Box::new(element)) } else { Shape::Text }
}

fn shape(oid: u32) -> Shape {
    match oid {
        BOOLEAN => Shape::Boolean,
        BYTEA => Shape::Bytes,
        // bigint, smallint, integer, oid, xid, cid
        20 | 21 | 23 | 26 | 28 | 29 => Shape::Integer,
        // real, double precision
        700 | 701 => Shape::Float,
        // json, jsonb
        114 | 3802 => Shape::Document,
        // timestamp without and with time zone, time with time zone
        1114 | 1184 | 1266 => Shape::Time,
        _ => Shape::Text,
    }
}

/// A domain over an array of a domain over ...: PostgreSQL has no bound of its own.
const MOST_LEVELS: u8 = 16;
const HEXADECIMAL: &str = "hex";

const BOOLEAN: u32 = 16;
const BYTEA: u32 = 17;
const BOX: u32 = 603;

/// `src/include/catalog/pg_type.dat`: the type, its array and its name. These OIDs never change.
const OWN: &[(u32, u32, &str)] = &[
    (BOOLEAN, 1000, "boolean"),
    (BYTEA, 1001, "bytea"),
    (18, 1002, "\"char\""),
    (19, 1003, "name"),
    (20, 1016, "bigint"),
    (21, 1005, "smallint"),
    (22, 1006, "int2vector"),
    (23, 1007, "integer"),
    (24, 1008, "regproc"),
    (25, 1009, "text"),
    (26, 1028, "oid"),
    (27, 1010, "tid"),
    (28, 1011, "xid"),
    (29, 1012, "cid"),
    (30, 1013, "oidvector"),
    (114, 199, "json"),
    (142, 143, "xml"),
    (600, 1017, "point"),
    (601, 1018, "lseg"),
    (602, 1019, "path"),
    (BOX, 1020, "box"),
    (604, 1027, "polygon"),
    (628, 629, "line"),
    (650, 651, "cidr"),
    (700, 1021, "real"),
    (701, 1022, "double precision"),
    (718, 719, "circle"),
    (774, 775, "macaddr8"),
    (790, 791, "money"),
    (829, 1040, "macaddr"),
    (869, 1041, "inet"),
    (1042, 1014, "character"),
    (1043, 1015, "character varying"),
    (1082, 1182, "date"),
    (1083, 1183, "time without time zone"),
    (1114, 1115, "timestamp without time zone"),
    (1184, 1185, "timestamp with time zone"),
    (1186, 1187, "interval"),
    (1266, 1270, "time with time zone"),
    (1560, 1561, "bit"),
    (1562, 1563, "bit varying"),
    (1700, 1231, "numeric"),
    (2202, 2207, "regprocedure"),
    (2203, 2208, "regoper"),
    (2204, 2209, "regoperator"),
    (2205, 2210, "regclass"),
    (2206, 2211, "regtype"),
    (2249, 2287, "record"),
    (2278, 0, "void"),
    (2950, 2951, "uuid"),
    (2970, 2949, "txid_snapshot"),
    (3220, 3221, "pg_lsn"),
    (3614, 3643, "tsvector"),
    (3615, 3645, "tsquery"),
    (3734, 3735, "regconfig"),
    (3769, 3770, "regdictionary"),
    (3802, 3807, "jsonb"),
    (3904, 3905, "int4range"),
    (3906, 3907, "numrange"),
    (3908, 3909, "tsrange"),
    (3910, 3911, "tstzrange"),
    (3912, 3913, "daterange"),
    (3926, 3927, "int8range"),
    (4072, 4073, "jsonpath"),
    (4089, 4090, "regnamespace"),
    (4096, 4097, "regrole"),
    (4191, 4192, "regcollation"),
    (4451, 6150, "int4multirange"),
    (4532, 6151, "nummultirange"),
    (4533, 6152, "tsmultirange"),
    (4534, 6153, "tstzmultirange"),
    (4535, 6155, "datemultirange"),
    (4536, 6157, "int8multirange"),
    (5069, 271, "xid8"),
];
