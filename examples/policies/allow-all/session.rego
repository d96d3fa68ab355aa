# METADATA
# title: Everybody may open a session
# description: |
#   `unjudged` lets statements run that the gateway does not understand: they go to the database byte by byte. It
#   holds because this rulebook masks nothing. With a single mask, no session would open. `allow_replication` lets
#   backups and subscribers stream from it, as far as the upstream role may.
package portcullis.session

allow := true

unjudged := true

allow_replication := true
