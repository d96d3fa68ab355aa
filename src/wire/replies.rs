//! What the server still owes, in order.
