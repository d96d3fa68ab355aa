# METADATA
# title: Nothing waits for approval
package portcullis.approval

eligible := false
