//! The token in a webhook's path.
#![no_main]

use domain::WebhookToken;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Some(token) = WebhookToken::parse(text) else {
        return;
    };
    assert!((16..=128).contains(&text.len()));
    assert!(token.expose().eq_ignore_ascii_case(text));
    let hash = token.hash();
    assert!(
        hash.as_str().len() == 64 && hash.as_str().bytes().all(|byte| byte.is_ascii_hexdigit())
    );
    for spelling in [text.to_ascii_uppercase(), text.to_ascii_lowercase()] {
        assert_eq!(
            WebhookToken::parse(&spelling).map(|token| token.hash()),
            Some(hash.clone())
        );
    }
    assert!(!format!("{token:?}").contains(token.expose()));
});
