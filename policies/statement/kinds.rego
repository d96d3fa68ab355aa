# METADATA
# title: Which statements there are at all
# description: |
#   Kinds are allowed by name, in data/kinds.json: a statement that nobody thought of is denied. Reading and
#   managing one's own session are allowed here; other files of this package say where that ends.
package portcullis.statement

import data.portcullis.lib
import data.portcullis.lib.is_dba
import data.portcullis.lib.sees_clear
import data.portcullis.lib.writable

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

# PREPARE runs nothing either: what its EXECUTE will run is judged by then.
plan_only if {
	input.statement.kind == "prepare"
	input.statement.class in {"session", "write"}
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
	is_dba
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

deny contains {
	"rule": "ddl_scope",
	"message": sprintf("you may not change or maintain `%s`", [table.key]),
	"hint": "definitions are changed within the write scope of your file",
} if {
	some table in changed_definitions
	not table.system
	table.schema != "pg_temp"
	not lib.granted_whole(writable, table)
}

# Whoever sees a column masked could rename it, and it would lose its label.
deny contains {
	"rule": "ddl_on_masked",
	"message": sprintf("`%s` has columns that are masked for you, so its definition is not yours to change", [table.key]),
	"hint": "ask a DBA who sees them in clear",
} if {
	some table in changed_definitions
	not sees_clear
	data.labels[input.database][table.key]
}

changed_definitions := [table |
	some table in input.statement.tables
	table.access in {"define", "maintain"}
]

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
