//! A client that speaks bytes.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::{BufMut as _, BytesMut};
use portcullis::cli::demo::shop;
use portcullis::protocol::frame::{Frame, Leg, put_cstr};
use portcullis::protocol::run::{Frames, Piece};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::gateway::{Stand, UPSTREAM_PASSWORD};
use crate::wire_sim::rig::{message, word};

/// A client that speaks bytes.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    buffer: BytesMut,
    row: String,
}

impl Raw {
    pub(crate) async fn connect(stand: &Stand) -> Self {
        Self::to(stand.gateway.addresses().wire).await
    }

    pub(crate) async fn to(address: SocketAddr) -> Self {
        let stream = TcpSocket::new_v4().unwrap().connect(address).await.unwrap();
        Self { stream, buffer: BytesMut::new(), row: String::new() }
    }

    pub(crate) async fn session(stand: &Stand, user: &str) -> Self {
        let mut raw = Self::connect(stand).await;
        let startup = startup(&[("user", user), ("database", "shop"), ("client_encoding", "UTF8")]);
        raw.log_in(user, &stand.secrets[user], &startup).await;
        raw
    }

    /// A session past the gateway, as the upstream role of those who see everything.
    pub(crate) async fn direct(stand: &Stand) -> Self {
        Self::direct_as(stand, shop::FULL_USER).await
    }

    /// A session past the gateway, as one of its upstream roles.
    pub(crate) async fn direct_as(stand: &Stand, user: &str) -> Self {
        let mut raw = Self::to((Ipv4Addr::LOCALHOST, stand.cluster.port()).into()).await;
        let startup = startup(&[("user", user), ("database", "shop"), ("client_encoding", "UTF8")]);
        raw.log_in(user, UPSTREAM_PASSWORD, &startup).await;
        raw
    }

    pub(crate) async fn log_in(&mut self, user: &str, password: &str, startup: &[u8]) {
        self.prove(user, password, startup).await;
        let greeting = self.until_ready().await;
        assert!(greeting.starts_with('R') && greeting.ends_with("K Z(I)"), "{greeting}");
    }

    /// The start-up up to the server's own proof.
    pub(crate) async fn prove(&mut self, user: &str, password: &str, startup: &[u8]) {
        self.send(startup).await;
        let first = self.frame().await.unwrap();
        self.answer(&first, user, password).await;
    }

    /// Answers AuthenticationSASL, up to the server's own proof.
    pub(crate) async fn answer(&mut self, first: &Frame, user: &str, password: &str) {
        assert_eq!(first.body[..4], [0, 0, 0, 10], "{user}");
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        let first = message(b'p', |body| {
            put_cstr(body, "SCRAM-SHA-256");
            body.put_i32(i32::try_from(scram.message().len()).unwrap());
            body.put_slice(scram.message());
        });
        self.send(&first).await;
        let challenge = self.frame().await.unwrap();
        scram.update(&challenge.body[4..]).unwrap();
        self.send(&message(b'p', |body| body.put_slice(scram.message()))).await;
        let last = self.frame().await.unwrap();
        scram.finish(&last.body[4..]).unwrap();
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn ask(&mut self, bytes: &[u8]) -> String {
        self.send(bytes).await;
        self.until_ready().await
    }

    /// What comes up to the next ReadyForQuery.
    pub(crate) async fn until_ready(&mut self) -> String {
        let mut words = Vec::new();
        while let Some(frame) = self.frame().await {
            if matches!(frame.tag, b'D' | b'd') {
                self.row = String::from_utf8_lossy(&frame.body).into_owned();
            }
            words.push(word(&frame));
            if frame.tag == b'Z' {
                break;
            }
        }
        words.join(" ")
    }

    pub(crate) fn last_row(&self) -> &str {
        &self.row
    }

    /// Reads one row, however long, and forgets it: its size in bytes, type and length included.
    pub(crate) async fn skip_row(&mut self) -> usize {
        let (mut frames, mut size) = (Frames::new(Leg::Backend), 0);
        loop {
            // One row is expected: a second one would be in the same run.
            while let Some(piece) = frames.next(&mut self.buffer).unwrap() {
                let Piece::Run(run) = piece else { panic!("no row: {piece:?}") };
                let is_whole = run.is_whole();
                size += run.into_bytes().len();
                if is_whole {
                    return size;
                }
            }
            assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "the row breaks off");
        }
    }

    /// The next message's type; `None` at the end.
    pub(crate) async fn peek(&mut self) -> Option<u8> {
        while self.buffer.is_empty() {
            if !matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..)) {
                return None;
            }
        }
        self.buffer.first().copied()
    }

    /// The next message; `None` at the end.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::decode(Leg::Backend, &mut self.buffer).unwrap() {
                return Some(frame);
            }
            if !matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..)) {
                return None;
            }
        }
    }
}

pub(crate) fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    startup_of(3, 0, parameters)
}

pub(crate) fn startup_of(major: u16, minor: u16, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = BytesMut::new();
    body.put_u16(major);
    body.put_u16(minor);
    for (name, value) in parameters {
        put_cstr(&mut body, name);
        put_cstr(&mut body, value);
    }
    body.put_u8(0);
    packet(&body)
}

pub(crate) fn packet(body: &[u8]) -> Vec<u8> {
    let mut packet = u32::try_from(body.len() + 4).unwrap().to_be_bytes().to_vec();
    packet.extend_from_slice(body);
    packet
}
