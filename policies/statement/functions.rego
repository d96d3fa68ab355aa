# METADATA
# title: Functions
# description: |
#   PostgreSQL's own functions are allowed, but for those in data/functions.json that reach files, other
#   sessions or tables by name. Of the volatile ones, which may do anything, only those listed there are.
#   A database's own functions see tables without masks, so each must be listed to be called.
package portcullis.statement

import data.portcullis.lib.is_agent

deny contains {
	"rule": "function",
	"message": sprintf("`%s` %s", [function.key, data.functions.denied[name]]),
	"hint": "",
} if {
	some function in input.statement.functions
	function.builtin
	name := bare(function)
	data.functions.denied[name]
}

deny contains {
	"rule": "function",
	"message": sprintf("`%s` is volatile, and not among the volatile functions that you may call", [function.key]),
	"hint": "",
} if {
	some function in input.statement.functions
	function.builtin
	name := bare(function)
	not function.volatility in {"immutable", "stable"}
	not data.functions.denied[name]
	not callable(name)
}

deny contains {
	"rule": "own_function",
	"message": sprintf("`%s` is a function of this database that is not cleared: it could read past the masks", [function.key]),
	"hint": "whoever keeps the rulebook can clear it in data/functions.json",
} if {
	some function in input.statement.functions
	not function.builtin
	not startswith(function.key, "information_schema.")
	not function.key in data.functions.cleared[input.database]
}

# By a FunctionCall a function is named by its OID, and its result comes without a description.
deny contains {
	"rule": "function_call",
	"message": sprintf("`%s` may not be called by OID", [function.key]),
	"hint": "call it in a SELECT",
} if {
	input.statement.kind == "function_call"
	some function in input.statement.functions
	not bare(function) in data.functions.by_oid
}

deny contains {
	"rule": "function_call",
	"message": "which function this would call is not known",
	"hint": "call it in a SELECT",
} if {
	input.statement.kind == "function_call"
	count(input.statement.functions) == 0
}

callable(name) if name in data.functions.volatile

callable(name) if {
	not is_agent
	name in data.functions.volatile_for_people
}

# It is SET by another name, and settings.rego judges what it sets.
callable("set_config") if count(changed_settings) > 0

# `pg_catalog.now` is `now`.
bare(function) := trim_prefix(function.key, "pg_catalog.")
