# METADATA
# title: Everything may run
# description: What may really be done is up to the rights of the upstream role.
package portcullis.statement

allow := true
