package portcullis.connect_test

import data.portcullis.connect.allow
import data.portcullis.connect.deny

test_anybody_may_knock if {
	allow with input as from("192.0.2.7")
	count(deny) == 0 with input as from("192.0.2.7")
}

test_a_blocked_network_may_not if {
	rules(deny) == {"blocked_network"} with input as from("192.0.2.7")
		with data.connect.blocked as ["10.0.0.0/8", "192.0.2.0/24"]
	count(deny) == 0 with input as from("198.51.100.1")
		with data.connect.blocked as ["10.0.0.0/8", "192.0.2.0/24"]
}

test_an_unknown_address_is_in_every_network if {
	rules(deny) == {"blocked_network", "tls_required"} with input as from("")
		with data.connect as {"blocked": ["10.0.0.0/8"], "tls_required": ["10.0.0.0/8"]}
}

test_tls_where_it_is_required if {
	rules(deny) == {"tls_required"} with input as from("192.0.2.7")
		with data.connect.tls_required as ["192.0.2.0/24"]
	count(deny) == 0 with input as object.union(from("192.0.2.7"), {"tls": {"used": true}})
		with data.connect.tls_required as ["192.0.2.0/24"]
	count(deny) == 0 with input as object.union(from("127.0.0.1"), {"client": {"loopback": true}})
		with data.connect.tls_required as ["127.0.0.0/8"]
}

from(address) := {
	"door": "wire",
	"client": {"address": address, "port": 50000, "loopback": false},
	"tls": {"used": false},
}

rules(entries) := {entry.rule | some entry in entries}
