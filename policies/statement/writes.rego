# METADATA
# title: Write within your file's scope, once a person agrees
# description: |
#   Writes out of scope and writes that hit every row are denied. All others wait for somebody in the groups
#   that the identity's file names under [approval].
package portcullis.statement

import data.portcullis.lib
import data.portcullis.lib.me
import data.portcullis.lib.writable

escalate contains {
	"rule": "write_needs_approval",
	"message": sprintf("%s on `%s` waits for a person's approval", [concat(" and ", write_words), concat("`, `", written)]),
	"hint": sprintf("a member of %s can approve it", [concat(" or ", me.approval.groups)]),
	"groups": me.approval.groups,
	"ttl_s": data.rulebook.approval_ttl_s,
	"exclude_owner": owner_is_excluded,
} if {
	writes
	not plan_only
	count(me.approval.groups) > 0
}

deny contains {
	"rule": "no_approver",
	"message": "writes need an approval, and your file names nobody who could give it",
	"hint": "whoever keeps your file can add groups to [approval]",
} if {
	writes
	not plan_only
	count(me.approval.groups) == 0
}

deny contains {
	"rule": "write_scope",
	"message": sprintf("you may not write `%s`", [table.key]),
	"hint": "`my_access` lists what you may write; more is granted by [scope] in your file",
} if {
	some table in written_tables
	not in_write_scope(table)
}

deny contains {
	"rule": "write_columns",
	"message": sprintf("you may not write `%s` of `%s`", [concat("`, `", columns), table.key]),
	"hint": sprintf("you may write: %s", [concat(", ", writable[table.key])]),
} if {
	some table in written_tables
	in_write_scope(table)
	columns := lib.outside(writable, table, table.columns_written)
	count(columns) > 0
}

# Removing rows takes every column with them.
deny contains {
	"rule": "delete_scope",
	"message": sprintf("you may write some columns of `%s`, but not remove rows", [table.key]),
	"hint": "",
} if {
	some table in written_tables
	in_write_scope(table)
	table.access == "delete"
	not lib.granted_whole(writable, table)
}

deny contains {
	"rule": "no_where",
	"message": sprintf("%s without a WHERE clause would hit every row", [upper(kind)]),
	"hint": "name the rows: WHERE id = ...",
} if {
	some kind in kinds
	kind in {"update", "delete", "merge"}
	not input.statement.condition.present
}

deny contains {
	"rule": "no_where",
	"message": sprintf("the WHERE clause of this %s holds for every row", [upper(kind)]),
	"hint": "name the rows: WHERE id = ...",
} if {
	some kind in kinds
	kind in {"update", "delete", "merge"}
	input.statement.condition.present
	input.statement.condition.tautology
}

# A rewrite rule may turn the statement into another one, which nobody has judged.
deny contains {
	"rule": "rewrite_rules",
	"message": sprintf("`%s` has rewrite rules, so what a write would do is not known", [table.key]),
	"hint": "",
} if {
	some table in written_tables
	table.has_rules
}

deny contains {
	"rule": "explain_analyze",
	"message": "EXPLAIN ANALYZE runs what it explains, and this would write",
	"hint": "use EXPLAIN without ANALYZE",
} if {
	input.statement.explain_analyze
	not input.statement.class in {"transaction", "read"}
}

deny contains {
	"rule": "server_files",
	"message": "files and programs on the database server are out of bounds",
	"hint": "use COPY ... TO STDOUT",
} if {
	some destination in input.statement.destinations
	destination in {"server_file", "server_program"}
}

# The rows of a COPY come after the yes, so nobody would have seen what they agreed to.
deny contains {
	"rule": "copy_from",
	"message": "rows that come by COPY can't be shown to whoever approves",
	"hint": "use INSERT",
} if {
	writes
	"copy" in kinds
}

# The switch of portcullis.approval's `owner_approves`: an agent's owner can't say yes for it.
default owner_is_excluded := true

owner_is_excluded := false if data.rulebook.owner_may_approve

writes if input.statement.class == "write"

written_tables := [table |
	some table in input.statement.tables
	table.access in {"insert", "update", "delete"}
]

written := {table.key | some table in written_tables}

write_words := {upper(table.access) | some table in written_tables}

in_write_scope(table) if {
	not table.system
	lib.granted(writable, table)
}
