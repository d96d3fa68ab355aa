# What the tests share: two identities, and a statement that does nothing, to be changed by `with_fields`.
package portcullis.fixtures_test

agents := {
	"bot": agent("agent", ["support"], {
		"read": {"public.orders": ["*"], "public.customers": ["id", "name"]},
		"write": {"public.orders": ["status"]},
	}),
	"dora": agent("human", ["dba", "pii_readers"], {"read": {"public.*": ["*"]}, "write": {"public.*": ["*"]}}),
	"ana": agent("human", ["approvers"], {"read": {"public.*": ["*"]}, "write": {}}),
}

agent(kind, groups, scope) := {
	"kind": kind,
	"owner": "ana",
	"groups": groups,
	"scope": {"shop": scope},
	"limits": {"rows": 0, "bytes": 0, "statement_timeout_ms": 1000},
	"approval": {"groups": ["approvers"]},
}

# A stranger has no file.
kind_of(who) := object.get(object.get(agents, who, {}), "kind", "service")

# The input of `who` for a statement with `fields`.
ask(who, fields) := {
	"identity": {"name": who, "file": who, "kind": kind_of(who)},
	"database": "shop",
	"statement": object.union(nothing, fields),
}

nothing := {
	"kind": "select",
	"class": "read",
	"inner": [],
	"tables": [],
	"functions": [],
	"condition": {"present": false, "tautology": false, "columns": []},
	"settings": [],
	"destinations": [],
	"channels": [],
	"explain_analyze": false,
	"locks_rows": false,
	"parse_ok": true,
	"unresolved": [],
}

table(schema, name, access, fields) := object.union(
	{
		"key": concat(".", [schema, name]),
		"schema": schema,
		"name": name,
		"access": access,
		"system": schema == "pg_catalog",
		"via_view": "",
		"columns_read": [],
		"columns_written": [],
		"has_rules": false,
	},
	fields,
)
