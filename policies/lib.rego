# METADATA
# title: Words that the rules share
# description: |
#   Who is asking, and what their file grants. Everything comes from `data.agents`, the identities' files as
#   they are now: taking somebody out of a group works at their next statement.
package portcullis.lib

# The file of who is asking. Groups are read from `input.identity.groups` instead: an issuer may confer more of them.
me := data.agents[input.identity.file]

is_agent if me.kind == "agent"

# Members of these groups may change definitions.
is_dba if {
	me.kind == "human"
	some group in input.identity.groups
	group in data.rulebook.dba_groups
}

# Members of these groups see masked columns in clear.
sees_clear if {
	some group in input.identity.groups
	group in data.rulebook.clear_groups
}

# What the file grants on this database: `{"public.orders": ["status"], "hr.*": ["*"]}`. Undefined without a
# `[scope.DB]`, and then nothing is granted.
readable := me.scope[input.database].read

writable := me.scope[input.database].write

# Whether any column of the table is granted.
granted(grants, table) if grants[table.key]

granted(grants, table) if grants[concat(".", [table.schema, "*"])]

# Whether all of its columns are.
granted_whole(grants, table) if "*" in grants[table.key]

granted_whole(grants, table) if grants[concat(".", [table.schema, "*"])]

# Those of `columns` that are not granted.
outside(grants, table, _) := [] if granted_whole(grants, table)

outside(grants, table, columns) := [column |
	some column in columns
	not column in grants[table.key]
] if {
	not granted_whole(grants, table)
}
