# METADATA
# title: Everybody may open a session
# description: |
#   `unjudged` lets statements run that the gateway does not understand: they go to the database byte by byte. It
#   holds because this rulebook masks nothing. With a single mask, no session would open.
package portcullis.session

allow := true

unjudged := true
