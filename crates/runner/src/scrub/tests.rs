//! A secret behind any three escapes is found, and all other text is unchanged.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Escape {
    Json,
    Url,
    Html,
    /// Every other character in the other case.
    Case,
}

/// Escapes all characters that require it, and further characters according to `choices`.
fn escape(text: &str, escape: Escape, choices: &mut impl Iterator<Item = u8>) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        let (choice, code) = (choices.next().unwrap_or_default(), u32::from(character));
        let is_chosen = choice % 3 == 0;
        match (escape, character) {
            (Escape::Json, '"' | '\\') if !is_chosen => escaped.extend(['\\', character]),
            (Escape::Json, '/') if choice % 2 == 0 => escaped.push_str("\\/"),
            (Escape::Json, '"' | '\\' | '\t') => escaped.push_str(&format!("\\u{code:04X}")),
            (Escape::Json, _) if is_chosen => escaped.push_str(&format!("\\u{code:04x}")),
            (Escape::Url, ' ') if choice % 2 == 0 => escaped.push('+'),
            (Escape::Url, '%' | '+' | '&' | ' ' | '\t') => {
                escaped.push_str(&format!("%{code:02X}"))
            }
            (Escape::Url, _) if is_chosen => escaped.push_str(&format!("%{code:02x}")),
            (Escape::Html, '&') if choice % 2 == 0 => escaped.push_str("&amp;"),
            (Escape::Html, '<') if choice % 2 == 0 => escaped.push_str("&lt;"),
            (Escape::Html, '>') if choice % 2 == 0 => escaped.push_str("&gt;"),
            (Escape::Html, '"') if choice % 2 == 0 => escaped.push_str("&quot;"),
            (Escape::Html, '\'') if choice % 2 == 0 => escaped.push_str("&apos;"),
            (Escape::Html, '&' | '<' | '>' | '"' | '\'') => {
                escaped.push_str(&format!("&#x{code:X};"))
            }
            (Escape::Html, _) if is_chosen => escaped.push_str(&format!("&#{code:03};")),
            (Escape::Case, _) if is_chosen && character.is_ascii_lowercase() => {
                escaped.push(character.to_ascii_uppercase());
            }
            (Escape::Case, _) if is_chosen => escaped.push(character.to_ascii_lowercase()),
            _ => escaped.push(character),
        }
    }
    escaped
}

fn secret() -> impl Strategy<Value = String> {
    let character = prop_oneof![4 => prop::char::range('!', '~'), 1 => Just(' '), 2 => prop::sample::select(
        vec!['\\', '%', '&', '+', '/', '"', ';', '#', 'u', '0'])];
    let characters = prop::collection::vec(character, 8..40);
    characters
        .prop_map(|characters| characters.into_iter().collect::<String>().trim().to_owned())
        .prop_filter("no secret", |secret| {
            secret.len() >= SHORTEST_SECRET
                && !is_placeholder(secret.as_bytes())
                && !secret.contains('[')
        })
}

/// Text before and after a secret that may look like part of an escape.
fn surroundings() -> impl Strategy<Value = String> {
    "[a-f0-9ux\\\\%&+;# é\"{}]{0,12}"
}

fn levels() -> impl Strategy<Value = Vec<Escape>> {
    use Escape::{Case, Html, Json, Url};
    let level = prop::sample::select(vec![Json, Json, Url, Html]);
    let level = (level, prop::bool::ANY)
        .prop_map(|(level, case)| if case { vec![level, Case] } else { vec![level] });
    prop::collection::vec(level, 0..=3).prop_map(|levels| levels.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_secret_behind_up_to_three_escapes_is_found_at_any_place(
        secret in secret(), others in prop::collection::vec(secret(), 0..3), levels in levels(),
        before in surroundings(), behind in surroundings(), choices in prop::collection::vec(any::<u8>(), 64),
    ) {
        let mut choices = choices.into_iter().cycle();
        let echoed = levels.iter().fold(secret.clone(), |text, level| escape(&text, *level, &mut choices));
        let others = others.iter().map(String::as_str);
        let scrubber = SecretScrubber::new(others.chain([secret.as_str()]));
        let text = format!("{before}{echoed}{behind}");
        let scrubbed = scrubber.scrub(&text);
        prop_assert!(scrubbed.contains(MARK), "{text} became {scrubbed}");
        prop_assert!(!scrubbed.contains(&echoed), "{text} became {scrubbed}");
        // Only the mark and the surroundings of the secret remain.
        prop_assert!(scrubbed.len() <= before.len() + behind.len() + 2 * MARK.len(), "{text} became {scrubbed}");
        prop_assert_eq!(scrubber.scrub(&scrubbed), scrubbed.as_ref());
    }

    #[test]
    fn a_secret_that_is_cut_anywhere_leaves_no_more_than_three_characters(
        secret in secret(), levels in levels(), before in surroundings(), cut in any::<prop::sample::Index>(),
        choices in prop::collection::vec(any::<u8>(), 64),
    ) {
        let mut choices = choices.into_iter().cycle();
        let echoed = levels.iter().fold(secret.clone(), |text, level| escape(&text, *level, &mut choices));
        let text = format!("{before}{}", &echoed[..cut.index(echoed.len())]);
        let scrubber = SecretScrubber::new([secret.as_str()]);
        let scrubbed = scrubber.scrub_part(&text, TextEnd::Cut);
        // At most three characters and a part of an escape may remain.
        let shown = scrubbed.strip_prefix(before.as_str()).unwrap_or_default();
        let mut search = Search::new(shown.as_bytes());
        let folded = secret.to_ascii_lowercase();
        let first = folded.as_bytes()[0];
        let reveals_more = search.reader.read_units(0).iter().any(|unit| {
            unit.byte == first
                && search.follow(unit.end(0), &folded.as_bytes()[1..]) >= MatchResult::RanOut(SHORTEST_PREFIX)
        });
        prop_assert!(!reveals_more, "{text} became {scrubbed}");
    }

    #[test]
    fn a_text_without_secrets_is_unchanged(text in "[a-m0-9ux\\\\%&+;# éA-M\"{}/]{0,200}") {
        // The fourth character of each occurs in no text, so that no text ends with the beginning of one.
        let scrubber = SecretScrubber::new(["sk-zzzzqqqq", "Bearer wwww\\%vvvv", "%&\\y+-/zz"]);
        prop_assert!(matches!(scrubber.scrub(&text), Cow::Borrowed(same) if same == text.as_str()));
        prop_assert_eq!(scrubber.scrub_part(&text, TextEnd::Cut), text.as_str());
    }
}

#[test]
fn secrets_that_overlap_or_begin_with_one_another_leave_nothing() {
    let scrubber = SecretScrubber::new([
        "token-1",
        "token-123456",
        "456-and-more",
        "short",
        "  spaced-out-1  ",
    ]);
    for (text, scrubbed) in [
        ("a token-123456 b", "a [secret] b"),
        ("a token-12345 b", "a [secret]2345 b"),
        ("a token-123456-and-more b", "a [secret] b"),
        ("token-1token-1", "[secret][secret]"),
        ("TOKEN-1 short spaced-out-1", "[secret] short [secret]"),
    ] {
        assert_eq!(scrubber.scrub(text), scrubbed, "{text}");
    }
}

#[test]
fn the_token_of_an_authorization_is_found_without_its_scheme() {
    let scrubber = SecretScrubber::new([
        "Bearer abcdef-123",
        "two words-of-a-secret",
        "three short words",
    ]);
    assert_eq!(scrubber.scrub("It is Abcdef-123."), "It is [secret].");
    assert_eq!(scrubber.scrub("bearer abcdef-123"), "[secret]");
    assert_eq!(scrubber.scrub("words-of-a-secret"), "[secret]");
    assert_eq!(scrubber.scrub("short words"), "short words");
}

#[test]
fn a_secret_at_the_cut_is_removed_with_what_is_found_before_it() {
    let scrubber = SecretScrubber::new(["abcdefg1", "g1-ijklmnop"]);
    for (text, scrubbed) in [
        ("x abcde", "x "),
        ("x abc", "x abc"),
        ("x abcd\\u00", "x "),
        ("x abcdefg1-ij", "x [secret]"),
        ("abcdefg1 abcd", "[secret] "),
    ] {
        assert_eq!(scrubber.scrub_part(text, TextEnd::Cut), scrubbed, "{text}");
    }
    assert_eq!(scrubber.scrub("x abcde"), "x abcde");
}

#[test]
fn json_stays_json_without_secrets_in_strings_keys_and_numbers() {
    let scrubber = SecretScrubber::new(["k\"ey\\-1", "12345678"]);
    let mut value = serde_json::json!({ "k\"ey\\-1": ["say k\"ey\\-1", 12_345_678, 1, null], "b": { "12345678": 1 } });
    scrubber.scrub_json(&mut value);
    assert_eq!(
        value,
        serde_json::json!({ "[secret]": ["say [secret]", "[secret]", 1, null], "b": { "[secret]": 1 } })
    );
}

#[test]
fn a_placeholder_key_is_not_removed_from_answers_that_mention_it() {
    let scrubber = SecretScrubber::new(["ollama", "lm-studio", "Bearer ollama", "sk-live1"]);
    assert_eq!(
        scrubber.scrub("Ollama and LM-Studio, not sk-live1"),
        "Ollama and LM-Studio, not [secret]"
    );
}

#[test]
fn without_secrets_no_text_is_changed() {
    let scrubber = SecretScrubber::default();
    assert!(scrubber.is_empty());
    assert_eq!(scrubber.scrub_part("any text", TextEnd::Cut), "any text");
    assert!(
        SecretScrubber::new(["", "short", "secret"]).is_empty(),
        "too common, or in the mark"
    );
    assert!(!format!("{:?}", SecretScrubber::new(["the-secret-1"])).contains("the-secret"));
}
