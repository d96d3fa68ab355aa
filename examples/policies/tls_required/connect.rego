# METADATA
# title: TLS 1.3 on every connection
package portcullis.connect.tls_required

deny contains {
	"rule": "tls_version",
	"message": "connections must be encrypted",
	"hint": "connect with sslmode=verify-full",
} if {
	not input.tls.used
}

deny contains {
	"rule": "tls_version",
	"message": sprintf("%s is too old", [input.tls.version]),
	"hint": sprintf("use %s", [concat(" or ", data.tls_required.versions)]),
} if {
	input.tls.used
	not input.tls.version in data.tls_required.versions
}
