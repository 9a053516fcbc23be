"""Headers that API Gateway has joined or repaired."""

def send(cloud, *keys):
    return cloud.call("POST", cloud.webhook_path(cloud.create_agent()), {"a": 1}, [("Idempotency-Key", key) for key in keys])


def test_a_doubled_idempotency_key_is_one_key_with_a_comma_and_names_one_task(cloud):
    """R11. https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html:
    "Duplicate headers are combined with commas". The local server refuses two headers. Behind API Gateway they cannot be distinguished
    from one key that has a comma, which is allowed."""
    agent = cloud.create_agent()
    first, again, other = (cloud.call("POST", cloud.webhook_path(agent), {"a": 1}, [("Idempotency-Key", key) for key in keys])
                           for keys in (("one", "two"), ("one", "two"), ("one",)))
    assert (first.status, again.status, other.status) == (200, 200, 200)
    assert first.json() == again.json() != other.json()
    assert again.headers["Idempotent-Replayed"] == "true"


def test_an_idempotency_key_that_was_not_utf8_is_refused(cloud):
    """R11. It arrives with U+FFFD, as two different keys could."""
    answer = send(cloud, b"order-\xff\xfe".decode("latin-1"))
    assert (answer.status, answer.json().get("code")) == (400, "invalid_idempotency_key")


def test_an_idempotency_key_of_any_text_is_taken(cloud):
    """R11. UTF-8 passes whole."""
    assert send(cloud, "Bestellung-ü-7".encode().decode("latin-1")).status == 200


def test_the_session_cookie_comes_back_among_others(cloud):
    """R11. Cookies arrive in a list of their own, and the answer's become headers again."""
    answer = cloud.call("POST", "/api/session", {"admin_token": cloud.admin_token})
    cookie = answer.headers["Set-Cookie"].split(";")[0]
    assert cloud.call("GET", "/api/agents", headers=[("Cookie", f"other=1; {cookie}")]).status == 200
    assert cloud.call("GET", "/api/agents", headers=[("Cookie", "other=1")]).status == 401
