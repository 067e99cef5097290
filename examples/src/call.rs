//! One attempt at a data channel to another device, and the channel itself.

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use webrtc::{
    data_channel::{DataChannel, DataChannelEvent},
    error::{Error, Result},
    peer_connection::{
        PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
        RTCIceCandidateInit, RTCIceServer, RTCPeerConnectionIceEvent, RTCPeerConnectionState,
        RTCSessionDescription, SettingEngineBuilder,
    },
};

use crate::signed::CallId;

/// The wildcard stands for every interface except loopback, which is all that two terminals on one machine need.
const LOCAL_ADDRESSES: [&str; 2] = ["127.0.0.1:0", "0.0.0.0:0"];
/// A peer that is killed sends nothing: after this long without a sign of life, it counts as gone.
const SILENCE: Duration = Duration::from_secs(4);
/// How often a sign of life is sent.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// How much unsent data can wait; then the sender waits.
const SEND_BUFFER_BYTES: usize = 1 << 20;
const CHANNEL: &str = "chat";

/// An event of a call; sent together with the call's id.
pub enum CallEvent {
    /// A local address for the peer to try.
    Candidate(RTCIceCandidateInit),
    /// The data channel can be used.
    Open(Arc<dyn DataChannel>),
    /// The peer sent a line.
    Line(String),
    /// The peer is gone, or was never reached.
    Lost,
}

/// Where a call sends its events.
pub type CallEvents = mpsc::Sender<(CallId, CallEvent)>;

/// A peer connection. It lives until it is closed.
pub struct Call {
    id: CallId,
    connection: Arc<dyn PeerConnection>,
}

impl Call {
    /// Prepares an offer.
    ///
    /// # Errors
    /// An error of WebRTC: most often that no socket could be bound.
    pub async fn to_offer(id: CallId, ice: Vec<RTCIceServer>, events: CallEvents) -> Result<Self> {
        let call = Self::new(id, ice, events.clone()).await?;
        let prepared = async {
            let channel = call.connection.create_data_channel(CHANNEL, None).await?;
            tokio::spawn(tell_channel(id, channel, events));
            let offer = call.connection.create_offer(None).await?;
            call.connection.set_local_description(offer).await
        };
        let prepared = prepared.await;
        call.or_close(prepared).await.map(|(call, ())| call)
    }

    /// Accepts an offer, and returns the answer to it.
    ///
    /// # Errors
    /// An error of WebRTC, for example for a malformed offer.
    pub async fn to_answer(
        id: CallId,
        offer: RTCSessionDescription,
        ice: Vec<RTCIceServer>,
        events: CallEvents,
    ) -> Result<(Self, RTCSessionDescription)> {
        let call = Self::new(id, ice, events).await?;
        let prepared = async {
            call.connection.set_remote_description(offer).await?;
            let answer = call.connection.create_answer(None).await?;
            call.connection.set_local_description(answer).await?;
            call.description().await
        };
        let prepared = prepared.await;
        call.or_close(prepared).await
    }

    async fn new(id: CallId, ice: Vec<RTCIceServer>, events: CallEvents) -> Result<Self> {
        let configuration = RTCConfigurationBuilder::new().with_ice_servers(ice).build();
        let settings = SettingEngineBuilder::new()
            .with_ice_timeouts(Some(SILENCE), Some(SILENCE), Some(KEEP_ALIVE))
            .build();
        let connection = PeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_setting_engine(settings)
            .with_handler(Arc::new(Reporter { id, events }))
            .with_udp_addrs(LOCAL_ADDRESSES.to_vec())
            .with_data_channel_send_buffer_limit(SEND_BUFFER_BYTES)
            .build()
            .await?;
        Ok(Self { id, connection: Arc::new(connection) })
    }

    async fn or_close<T>(self, prepared: Result<T>) -> Result<(Self, T)> {
        match prepared {
            Ok(result) => Ok((self, result)),
            Err(error) => {
                self.close().await;
                Err(error)
            }
        }
    }

    /// The id of the call.
    #[must_use]
    pub fn id(&self) -> CallId {
        self.id
    }

    /// Our own offer or answer, with the addresses found so far.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn description(&self) -> Result<RTCSessionDescription> {
        self.connection.local_description().await.ok_or(Error::ErrConnectionClosed)
    }

    /// Accepts the answer to our own offer.
    ///
    /// # Errors
    /// An error of WebRTC, for example for a malformed answer.
    pub async fn accept(&self, answer: RTCSessionDescription) -> Result<()> {
        self.connection.set_remote_description(answer).await
    }

    /// Adds an address of the peer.
    ///
    /// # Errors
    /// An error of WebRTC, for example for a malformed address.
    pub async fn add_candidate(&self, candidate: RTCIceCandidateInit) -> Result<()> {
        self.connection.add_ice_candidate(candidate).await
    }

    /// Ends the call.
    pub async fn close(self) {
        // A connection that cannot be closed is closed already.
        let _ = self.connection.close().await;
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Passes on WebRTC's callbacks as events.
struct Reporter {
    id: CallId,
    events: CallEvents,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Reporter {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        if let Ok(candidate) = event.candidate.to_json() {
            tell(self.id, CallEvent::Candidate(candidate), &self.events).await;
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if matches!(state, RTCPeerConnectionState::Disconnected | RTCPeerConnectionState::Failed) {
            tell(self.id, CallEvent::Lost, &self.events).await;
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        tokio::spawn(tell_channel(self.id, channel, self.events.clone()));
    }
}

/// Runs until the channel or its connection is closed.
async fn tell_channel(id: CallId, channel: Arc<dyn DataChannel>, events: CallEvents) {
    while let Some(event) = channel.poll().await {
        match event {
            DataChannelEvent::OnOpen => tell(id, CallEvent::Open(channel.clone()), &events).await,
            DataChannelEvent::OnMessage(message) => {
                let line = String::from_utf8_lossy(&message.data).into_owned();
                tell(id, CallEvent::Line(line), &events).await;
            }
            DataChannelEvent::OnClose => break,
            DataChannelEvent::OnError
            | DataChannelEvent::OnClosing
            | DataChannelEvent::OnBufferedAmountLow
            | DataChannelEvent::OnBufferedAmountHigh
            | _ => {}
        }
    }
    tell(id, CallEvent::Lost, &events).await;
}

async fn tell(id: CallId, event: CallEvent, events: &CallEvents) {
    // If nobody listens any more, the program is about to end.
    let _ = events.send((id, event)).await;
}
