# METADATA
# title: Who may knock
# description: |
#   Asked before anybody has proved anything: by address, encryption, and what the client says of itself. Networks that are
#   blocked, and those that must come by TLS, are listed in data/connect.json. A client on the gateway's own machine needs
#   no TLS. An address that is not known counts as one from everywhere.
package portcullis.connect

allow := true

deny contains {
	"rule": "blocked_network",
	"message": "connections from your network are not taken here",
	"hint": "",
} if {
	some network in data.connect.blocked
	within(network)
}

deny contains {
	"rule": "tls_required",
	"message": "connections from your network must be encrypted",
	"hint": "connect with sslmode=verify-full",
} if {
	some network in data.connect.tls_required
	within(network)
	not input.tls.used
	not input.client.loopback
}

within(network) if {
	input.client.address != ""
	net.cidr_contains(network, input.client.address)
}

within(_) if input.client.address == ""
