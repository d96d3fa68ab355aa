# METADATA
# title: Words that the rules share
# description: |
#   Who is asking, and what their file grants. It comes from `data.agents`, the identities' files as they are now (taking
#   somebody out of a group works at their next statement), and from the token where an issuer vouches.
package portcullis.lib

# Who is asking: their file, with what is said of them now. For whom an issuer vouches that is more than the file has: groups
# and claims of their token, and for whom they act.
me := object.union(data.agents[input.identity.file], object.filter(input.identity, ["groups", "claims", "owner"]))

is_agent if me.kind == "agent"

# Members of these groups may change definitions.
is_dba if {
	me.kind == "human"
	some group in me.groups
	group in data.rulebook.dba_groups
}

# Members of these groups see masked columns in clear.
sees_clear if {
	some group in me.groups
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
