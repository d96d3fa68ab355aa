//! What every TCP connection of the gateway is told, on both legs.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Sends small messages at once, and gives a peer up that has silently gone: one that is idle after about two minutes,
/// one that owes an acknowledgement after `UNACKNOWLEDGED`. Otherwise its session would hold its locks for ever.
///
/// # Errors
/// When the operating system refuses an option.
pub fn prepare(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let probes = TcpKeepalive::new().with_time(IDLE).with_interval(BETWEEN_PROBES).with_retries(PROBES);
    socket.set_tcp_keepalive(&probes)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(())
}

const IDLE: Duration = Duration::from_secs(60);
const BETWEEN_PROBES: Duration = Duration::from_secs(10);
const PROBES: u32 = 6;
/// Linux counts a peer that answers but takes no bytes as one that is gone: a person who reads a long result page by
/// page, or a COPY that waits for a lock. So this is longer than such a pause, and a little less than what the
/// retransmission of lost bytes takes by itself.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_socket_has_every_option() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        prepare(&SockRef::from(&listener)).unwrap();
        let socket = SockRef::from(&listener);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), IDLE);
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
    }
}
