//! The bodies of the HTTP API. A body that is read can be written, and is then read as the same.

use aldis_protocol::api;
use serde::{Serialize, de::DeserializeOwned};

pub(crate) fn parse(data: &[u8]) {
    macro_rules! parse_each {
        ($($body:ident),+ $(,)?) => { $(survives_writing::<api::$body>(data);)+ };
    }
    parse_each![
        RegisterRequest,
        LoginRequest,
        ChallengeRequest,
        ChallengeResponse,
        VerifyRequest,
        RefreshRequest,
        LogoutRequest,
        ChangePasswordRequest,
        TokenResponse,
        SetContact,
        RequestContact,
        ContactList,
        RegisterDevice,
        DeviceList,
        IdentityResponse,
        ChainResponse,
        RotateRequest,
        CancelRequest,
        CancelResponse,
        ChainConflict,
        LinkRequest,
        LinkResponse,
        EncryptionKeyBody,
        UserKeys,
        JsonWebKeySet,
        ConversationQuery,
        StoredMessageList,
        Problem,
        CreateRoom,
        RoomInvitations,
        Room,
        RoomMessages,
        SetRoomState,
        RoomState,
        TotpEnrollment,
        TotpCodeRequest,
    ];
}

fn survives_writing<T: Serialize + DeserializeOwned>(data: &[u8]) {
    let Ok(body) = serde_json::from_slice::<T>(data) else { return };
    let written = serde_json::to_string(&body).expect("a body can be written");
    let again = serde_json::from_str::<T>(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(serde_json::to_string(&again).expect("a body can be written"), written);
}
