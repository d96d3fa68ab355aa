# METADATA
# title: Large amounts
package portcullis.bind.bind_threshold

escalate contains {
	"rule": "large_amount",
	"message": sprintf("$%d is %v, and more than %d in `%s` needs a second look", [value.index, value.value, most, table.key]),
	"hint": "a database administrator must agree",
	"groups": ["dba"],
	"ttl_s": 900,
} if {
	some table in input.statement.tables
	table.access in {"insert", "update"}
	most := object.get(data.bind_threshold, table.key, -1)
	most >= 0
	some value in input.bind.parameters
	is_large(value, most)
}

is_large(value, most) if {
	is_number(value.value)
	value.value > most
}

is_large(value, most) if {
	value.known
	value.type_name == "numeric"
	not value.null
	to_number(value.value) > most
}

is_large(value, _) if {
	not value.known
	not value.null
}
