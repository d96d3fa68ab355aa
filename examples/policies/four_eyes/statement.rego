# METADATA
# title: Two people of different groups
package portcullis.statement.four_eyes

escalate contains {
	"rule": "four_eyes",
	"message": sprintf("%s on `%s` needs two people", [upper(table.access), table.key]),
	"hint": "one of each group must agree",
	"seats": seats,
	"ttl_s": 3600,
} if {
	some table in input.statement.tables
	table.access in {"insert", "update", "delete"}
	seats := object.get(data.four_eyes, table.key, [])
	count(seats) > 0
}
