//! The verifier of key chains, which reads what a server claims.

use aldis_auth::Chain;
use aldis_protocol::api::ChainResponse;

/// Times before, within and after the 72 hours of any rotation in the corpus.
const TIMES_MS: [u64; 4] = [0, 1_767_225_600_000, 1_767_484_800_001, u64::MAX];

pub(crate) fn verify(data: &[u8]) {
    let Ok(response) = serde_json::from_slice::<ChainResponse>(data) else { return };
    let Ok(chain) = Chain::from_response(response.fingerprint, &response) else { return };
    assert_eq!(chain.fingerprint(), response.fingerprint);
    assert_eq!(chain.links().len(), response.statements.len());
    for now_ms in TIMES_MS {
        let _ = chain.state(now_ms);
        let again = Chain::from_response(response.fingerprint, &chain.to_response(now_ms));
        assert_eq!(again.expect("a verified chain stays verified").head(), chain.head());
    }
}
