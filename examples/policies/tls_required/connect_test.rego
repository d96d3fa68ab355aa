package portcullis.tls_required_test

import data.portcullis.connect.tls_required.deny

messages(tls) := found if {
	found := {reason.message | some reason in deny} with input as {"tls": tls}
		with data.tls_required.versions as ["TLSv1.3"]
}

test_the_newest_is_enough if messages({"used": true, "version": "TLSv1.3"}) == set()

test_others_are_not if {
	messages({"used": true, "version": "TLSv1.2"}) == {"TLSv1.2 is too old"}
	messages({"used": false, "version": ""}) == {"connections must be encrypted"}
}
