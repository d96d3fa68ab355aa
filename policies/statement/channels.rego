# METADATA
# title: Channels
# description: |
#   A notification goes to every session that listens, past masks and scopes, so channels are listed by name in
#   data/channels.json, for each database. What a channel carries is up to whoever notifies. Its payload here is a
#   literal; pg_notify(), which could send a column, is denied among the functions.
package portcullis.statement

deny contains {
	"rule": "channel",
	"message": sprintf("the channel `%s` is not open to you", [channel]),
	"hint": "whoever keeps the rulebook can list it in data/channels.json",
} if {
	input.statement.kind in {"listen", "notify"}
	some channel in input.statement.channels
	not channel in data.channels[input.database]
}
