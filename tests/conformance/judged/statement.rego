# METADATA
# title: Everything that is understood may run, and one table is masked
# description: |
#   What PostgreSQL's regression suite is run by, to see what the gateway itself refuses where a mask is in force:
#   the rulebook refuses nothing. The suite never reads the masked table.
package portcullis.statement

allow := true

mask contains {"relation": "private.patient", "column": "diagnosis", "type": "redact", "value": "withheld"}
