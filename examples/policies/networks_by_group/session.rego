# METADATA
# title: From where a group may come
package portcullis.session.networks_by_group

import data.portcullis.lib.me

deny contains {
	"rule": "network",
	"message": sprintf("members of `%s` do not connect from %s", [group, input.session.address]),
	"hint": sprintf("connect from: %s", [concat(", ", networks)]),
} if {
	some group in me.groups
	networks := object.get(data.networks_by_group, group, ["0.0.0.0/0", "::/0"])
	not within(networks)
}

within(networks) if {
	input.session.address != ""
	some network in networks
	net.cidr_contains(network, input.session.address)
}
