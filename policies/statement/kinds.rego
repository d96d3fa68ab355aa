# METADATA
# title: Which statements there are at all
# description: |
#   Kinds are allowed by name, in data/kinds.json: a statement that nobody thought of is denied. Reading and
#   managing one's own session are allowed here; other files of this package say where that ends.
package portcullis.statement

import data.portcullis.lib

allow if {
	input.statement.class in {"transaction", "read", "session"}
	known_kind
}

# A plan alone changes nothing. The scope rules look at what it would touch all the same.
allow if plan_only

allow if {
	input.statement.class in {"ddl", "utility"}
	known_kind
}

plan_only if {
	input.statement.kind == "explain"
	not input.statement.explain_analyze
	input.statement.class in {"read", "write"}
}

known_kind if {
	every kind in kinds {
		permitted(kind)
	}
}

# The statement and everything that acts inside it.
kinds := {input.statement.kind} | {inner.kind | some inner in input.statement.inner}

permitted(kind) if kind in data.kinds.everyone

permitted(kind) if {
	lib.is_dba
	kind in data.kinds.dba
}

deny contains {
	"rule": "ddl",
	"message": sprintf("%s changes definitions or rights, which is not yours to do", [words(kind)]),
	"hint": "ask a DBA: definitions are changed by people in the group `dba`",
} if {
	input.statement.class == "ddl"
	some kind in kinds
	not permitted(kind)
}

deny contains {
	"rule": "statement_kind",
	"message": sprintf("%s is not a statement that this gateway runs for you", [words(kind)]),
	"hint": object.get(data.kinds.hints, kind, ""),
} if {
	input.statement.class != "ddl"
	some kind in kinds
	not permitted(kind)
}

# The gateway denies these by itself; the rulebook does not rely on it.
deny contains {
	"rule": "unresolved",
	"message": sprintf("%s `%s` %s", [missing.what, missing.name, missing.why]),
	"hint": "",
} if {
	some missing in input.statement.unresolved
}

# `DROP TABLE` for `drop_table`.
words(kind) := upper(replace(kind, "_", " "))
