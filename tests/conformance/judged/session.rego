# METADATA
# title: Everybody may open a session, and everything in it is judged
package portcullis.session

allow := true
