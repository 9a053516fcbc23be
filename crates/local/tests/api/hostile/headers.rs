//! Requests that are too long, ambiguous or not HTTP.

use super::Site;

const CLOSE: &str = "Connection: close\r\n";

/// Asserts that the request is refused before routing.
async fn refused(site: &Site, request: impl AsRef<[u8]>, statuses: &[u16]) {
    let request = request.as_ref();
    let heard = site.hear(request).await;
    let shown = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
    assert!(
        statuses.contains(&heard.status()),
        "{shown:?} was answered {:?}",
        heard.0
    );
    assert!(heard.answers() <= 1, "{shown:?} was answered {:?}", heard.0);
}

#[tokio::test]
async fn headers_that_are_too_long_are_refused_and_the_connection_is_closed() {
    let site = Site::open().await;
    let long = "x".repeat(70_000);
    refused(&site, format!("GET {}?{long}", site.path), &[414, 431]).await;
    refused(
        &site,
        format!("GET {}?{long} HTTP/1.1\r\nHost: x\r\n\r\n", site.path),
        &[414, 431],
    )
    .await;
    refused(&site, site.post(&format!("X: {long}\r\n"), ""), &[431]).await;
    refused(&site, site.post(&"X: y\r\n".repeat(101), ""), &[431]).await;
    refused(&site, site.post(&"X: y\r\n".repeat(12_000), ""), &[431]).await;
    refused(&site, long, &[400, 431]).await;
    site.closes_unharmed(0).await;
}

#[tokio::test]
async fn a_long_query_within_the_limit_is_accepted() {
    let site = Site::open().await;
    let query = "x".repeat(60_000);
    let heard = site
        .hear(format!(
            "GET {}?a={query} HTTP/1.1\r\nHost: x\r\n{CLOSE}\r\n",
            site.path
        ))
        .await;
    assert_eq!(heard.status(), 200, "{}", heard.0);
    site.closes_unharmed(1).await;
}

/// Two servers may disagree whether bytes are a body or a second request (request smuggling).
#[tokio::test]
async fn a_request_whose_length_can_be_read_in_two_ways_is_refused_or_ends_its_connection() {
    let site = Site::open().await;
    let hidden = site.post("Content-Length: 8\r\n", "\"hidden\"");
    for lengths in [
        "Content-Length: 2\r\nContent-Length: 300\r\n",
        "Content-Length: 2, 300\r\n",
        "Content-Length: 2,2\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: 0x2\r\n",
        "Content-Length: 2 2\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length: 18446744073709551615\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\r\n : chunked\r\n",
        "Content-Length : 2\r\n",
        "Content-Length: 2\r\n folded: yes\r\n",
        "X: a\r\n Content-Length: 2\r\n",
        "X: a\0b\r\nContent-Length: 2\r\n",
        "X: a\rContent-Length: 300\r\nContent-Length: 2\r\n",
        "X\0: a\r\nContent-Length: 2\r\n",
        "X y: a\r\nContent-Length: 2\r\n",
        ": a\r\nContent-Length: 2\r\n",
        "no colon\r\nContent-Length: 2\r\n",
    ] {
        refused(
            &site,
            site.post(lengths, &format!("{{}}{hidden}")),
            &[400, 413, 431],
        )
        .await;
    }
    site.closes_unharmed(0).await;
}

#[tokio::test]
async fn of_two_lengths_only_the_chunks_count_and_no_request_after_them_is_run() {
    let site = Site::open().await;
    let hidden = site.post("Content-Length: 8\r\n", "\"hidden\"");
    for lengths in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: nonsense\r\n",
    ] {
        let heard = site
            .hear(site.post(lengths, &format!("4\r\n\"ab\"\r\n0\r\n\r\n{hidden}")))
            .await;
        assert_eq!(
            (heard.status(), heard.answers()),
            (200, 1),
            "{lengths:?}: {}",
            heard.0
        );
    }
    assert!(
        site.model
            .asked()
            .iter()
            .all(|asked| asked.user() == "\"ab\"")
    );
    site.closes_unharmed(3).await;
}

#[tokio::test]
async fn malformed_chunks_are_an_incomplete_body_and_end_the_connection() {
    let site = Site::open().await;
    let hidden = site.post("Content-Length: 8\r\n", "\"hidden\"");
    for chunks in [
        "10000000000000000\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "+2\r\n{}\r\n0\r\n\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        "2 2\r\n{}\r\n0\r\n\r\n",
        "\r\n{}\r\n0\r\n\r\n",
        "2\n{}\n0\n\n",
        "2\r{}\r\n0\r\n\r\n",
        "2\r\n{}0\r\n\r\n",
        "1\r\n{}\r\n0\r\n\r\n",
    ] {
        let heard = site
            .hear(site.post(
                "Transfer-Encoding: chunked\r\n",
                &format!("{chunks}{hidden}"),
            ))
            .await;
        assert_eq!(
            (heard.status(), heard.answers()),
            (400, 1),
            "{chunks:?}: {}",
            heard.0
        );
        assert_eq!(heard.code(), "incomplete_body", "{chunks:?}");
    }
    site.closes_unharmed(0).await;
}

#[tokio::test]
async fn endless_chunk_extensions_and_trailers_are_refused() {
    let site = Site::open().await;
    let extension = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(100_000));
    let trailers = format!("2\r\n{{}}\r\n0\r\n{}\r\n", "X: y\r\n".repeat(20_000));
    for chunks in [extension, trailers] {
        let heard = site
            .hear(site.post(&format!("Transfer-Encoding: chunked\r\n{CLOSE}"), &chunks))
            .await;
        assert_eq!(heard.code(), "incomplete_body");
    }
    site.closes_unharmed(0).await;
}

#[tokio::test]
async fn an_unread_body_is_never_parsed_as_a_request() {
    let site = Site::open().await;
    let hidden = site.post("Content-Length: 8\r\n", "\"hidden\"");
    let length = format!("Content-Length: {}\r\n", hidden.len());
    let unknown = "POST /api/webhooks/agents/0123456789abcdef HTTP/1.1\r\nHost: x\r\n";
    let unauthorized = "POST /api/agents HTTP/1.1\r\nHost: x\r\n";
    let unsupported = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n",
        site.path
    );
    let compressed = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n",
        site.path
    );
    let wrong_method = format!("PUT {} HTTP/1.1\r\nHost: x\r\n", site.path);
    for (headers, status) in [
        (unknown, 404),
        (unauthorized, 401),
        (&unsupported, 415),
        (&compressed, 415),
        (&wrong_method, 405),
    ] {
        let heard = site
            .hear(format!("{headers}{length}{CLOSE}\r\n{hidden}"))
            .await;
        assert_eq!(
            (heard.status(), heard.answers()),
            (status, 1),
            "{}",
            heard.0
        );
    }
    site.closes_unharmed(0).await;
}

#[tokio::test]
async fn pipelined_requests_get_responses_in_order_until_one_is_malformed() {
    let site = Site::open().await;
    let good = site.post("Content-Length: 2\r\n", "{}");
    let bad = site.post("Content-Length: 2\r\nContent-Length: 3\r\n", "{}");
    let heard = site.hear(format!("{good}{good}{bad}{good}")).await;
    let statuses: Vec<&str> = heard
        .0
        .match_indices("HTTP/1.1 ")
        .map(|(at, _)| &heard.0[at + 9..at + 12])
        .collect();
    assert_eq!(statuses, ["200", "200", "400"]);
    site.closes_unharmed(2).await;
}

#[tokio::test]
async fn a_target_that_is_not_a_path_is_routed_by_its_path_or_refused() {
    let site = Site::open().await;
    let rest = format!("HTTP/1.1\r\nHost: x\r\n{CLOSE}Content-Length: 2\r\n\r\n{{}}");
    let absolute = site
        .hear(format!("POST http://elsewhere{} {rest}", site.path))
        .await;
    assert_eq!(
        absolute.status(),
        200,
        "RFC 9112 section 3.2.2: {}",
        absolute.0
    );
    for (request, status) in [
        ("CONNECT 127.0.0.1:22", 404),
        ("OPTIONS *", 404),
        ("GET *", 404),
        ("GET 127.0.0.1:80", 404),
        ("GET //api/health", 404),
        ("GET /api/../api/health", 404),
        ("GET http://", 400),
        ("GET health", 404),
        ("GET", 400),
        ("GET /\u{e9}", 404),
        ("G\u{e9}T /", 400),
        ("GET /a b", 400),
        ("GET /\0", 400),
    ] {
        let heard = site.hear(format!("{request} {rest}")).await;
        assert_eq!(heard.status(), status, "{request:?}: {}", heard.0);
    }
    site.closes_unharmed(1).await;
}

#[tokio::test]
async fn a_host_that_is_missing_doubled_or_malformed_is_refused() {
    let site = Site::open().await;
    let request = |version: &str, target: &str, hosts: &str| {
        format!("POST {target} HTTP/{version}\r\n{hosts}{CLOSE}Content-Length: 2\r\n\r\n{{}}")
    };
    let absolute = format!("http://elsewhere{}", site.path);
    for hosts in [
        "",
        "Host: x\r\nHost: x\r\n",
        "Host: x\r\nHost: y\r\n",
        "Host:\r\n",
        "Host: a b\r\n",
        "Host: a, b\r\n",
        "Host: user@x\r\n",
        "Host: x/y\r\n",
        "Host: x:y\r\n",
        "Host: x:65536\r\n",
        "Host: [::1\r\n",
        "Host: \u{e9}\r\n",
    ] {
        for target in [&site.path, &absolute] {
            let heard = site.hear(request("1.1", target, hosts)).await;
            assert_eq!(
                (heard.status(), heard.code().as_str()),
                (400, "invalid_host"),
                "{hosts:?}"
            );
            assert!(
                heard.0.to_lowercase().contains("connection: close"),
                "{}",
                heard.0
            );
        }
    }
    let health = "GET /api/health HTTP/1.1\r\n\r\n";
    assert_eq!(site.hear(health).await.code(), "invalid_host");
    assert_eq!(
        site.hear(request("1.0", &site.path, "Host: x\r\nHost: x\r\n"))
            .await
            .status(),
        400
    );
    for (version, hosts) in [
        ("1.0", ""),
        ("1.0", "Host: x\r\n"),
        ("1.1", "Host: x:80\r\n"),
        ("1.1", "Host: [::1]:80\r\n"),
    ] {
        assert_eq!(
            site.hear(request(version, &site.path, hosts))
                .await
                .status(),
            200,
            "{version} {hosts:?}"
        );
    }
    site.closes_unharmed(4).await;
}

#[tokio::test]
async fn bytes_that_are_not_http_1_are_refused() {
    let site = Site::open().await;
    let hello = b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03GET / HTTP/1.1\r\n\r\n";
    refused(&site, hello, &[400]).await;
    // An HTTP/2 client would not understand a response, so there is none (0).
    refused(
        &site,
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        &[0],
    )
    .await;
    refused(&site, format!("GET {}\r\n\r\n", site.path), &[400]).await;
    refused(
        &site,
        format!("GET {} HTTP/0.9\r\n\r\n", site.path),
        &[400, 505],
    )
    .await;
    refused(
        &site,
        format!("GET {} HTTP/3.0\r\n\r\n", site.path),
        &[400, 505],
    )
    .await;
    refused(&site, format!("GET {} http/1.1\r\n\r\n", site.path), &[400]).await;
    refused(&site, "\r\n\r\n\0", &[400]).await;
    site.closes_unharmed(0).await;
}

/// A linear congruential generator, which returns the same bytes in every run.
fn noise(seed: &mut u64) -> u8 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    seed.to_be_bytes()[0]
}

#[tokio::test]
async fn random_bytes_and_requests_with_random_bytes_in_them_are_refused() {
    let site = Site::open().await;
    let mut seed = 20_261_124;
    for round in 0..300 {
        let mut bytes: Vec<u8> = match round % 2 {
            0 => (0..200).map(|_| noise(&mut seed)).collect(),
            _ => site
                .post(&format!("{CLOSE}Content-Length: 5\r\n"), "null ")
                .into_bytes(),
        };
        for _ in 0..4 {
            let at = usize::from(noise(&mut seed)) % bytes.len();
            bytes[at] = noise(&mut seed);
        }
        bytes.extend(b"\r\n\r\n");
        let status = site.hear(&bytes).await.status();
        // 408 if the length became larger, so that the rest of the body never comes.
        assert!(
            (400..=499).contains(&status) && status != 429,
            "{status} for {}",
            bytes.escape_ascii()
        );
    }
    site.closes_unharmed(0).await;
}
