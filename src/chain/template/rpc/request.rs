//! What a node is asked.

use bitcoin::Block;
use bitcoin::consensus::encode::serialize_hex;
use serde_json::{Value, json};

use crate::chain::template::rpc::LongPollId;

/// The text of a call of `getblocktemplate`; with `after`, the node answers when it has something
/// better than that.
pub fn template_request(after: Option<&LongPollId>) -> String {
    let mut wanted = json!({
        "rules": ["segwit"],
        "capabilities": ["coinbasevalue", "longpoll", "workid"],
    });
    if let (Some(wanted), Some(after)) = (wanted.as_object_mut(), after) {
        wanted.insert("longpollid".into(), after.as_str().into());
    }
    call("getblocktemplate", &[wanted])
}

/// The text of a call of `submitblock`.
pub fn submit_request(block: &Block) -> String {
    call("submitblock", &[serialize_hex(block).into()])
}

fn call(method: &str, params: &[Value]) -> String {
    json!({"jsonrpc": "1.0", "id": "millstream", "method": method, "params": params}).to_string()
}
