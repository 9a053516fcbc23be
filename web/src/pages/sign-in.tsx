import { useEffect, useRef, useState } from "preact/hooks";
import { type ApiError, asApiError } from "../api.ts";
import { signIn } from "../session.ts";
import { Button, TextField } from "../ui/index.ts";
import { Logo } from "../ui/icons.tsx";

export function SignIn() {
  const [token, setToken] = useState("");
  const [problem, setProblem] = useState<string>();
  const [busy, setBusy] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => {
    document.title = "Sign in · Agent Webhooks";
    focusToken(form.current);
  }, []);

  async function submit(event: SubmitEvent) {
    event.preventDefault();
    if (busy) return;
    const given = token.trim();
    if (given === "") {
      setProblem("Paste the admin token here first.");
      return focusToken(form.current);
    }
    setBusy(true);
    try {
      await signIn(given);
    } catch (error) {
      setProblem(inWords(asApiError(error)));
      setBusy(false);
      focusToken(form.current);
    }
  }

  return (
    <main class="sign-in">
      <form class="sign-in-card" ref={form} onSubmit={submit} noValidate>
        <Logo />
        <h1>Sign in to Agent Webhooks</h1>
        <p class="lead">Use the admin token of this deployment.</p>
        {/* For password managers, which save a password under a user name. */}
        <input type="text" name="username" autoComplete="username" value="admin" readOnly hidden />
        <TextField
          label="Admin token"
          type="password"
          name="admin-token"
          autoComplete="current-password"
          value={token}
          error={problem}
          onValue={(value) => {
            setToken(value);
            setProblem(undefined);
          }}
        />
        <Button kind="primary" type="submit" busy={busy}>
          Sign in
        </Button>
        <WhereIsIt />
      </form>
    </main>
  );
}

function WhereIsIt() {
  return (
    <details class="sign-in-help">
      <summary>Where do I find it?</summary>
      <dl>
        <dt>On your machine</dt>
        <dd>
          In the file <code>.agent-webhooks/admin-token</code>, in the folder the server was started in. The server prints it
          when it starts for the first time.
        </dd>
        <dt>On AWS</dt>
        <dd>
          Run the command in the stack's output <code>AdminTokenCommand</code>.
        </dd>
      </dl>
    </details>
  );
}

function inWords(error: ApiError): string {
  switch (error.status) {
    case 401:
      return "This is not the admin token of this deployment. Copy the whole token again, without spaces around it.";
    case 429:
      return `Too many wrong tokens were sent from your address. Wait ${waiting(error.retryAfter)}, then try again.`;
    default:
      return error.reference ? `${error.message} (reference ${error.reference})` : error.message;
  }
}

function waiting(seconds: number | undefined): string {
  if (seconds === undefined) return "a minute";
  return seconds === 1 ? "a second" : `${seconds} seconds`;
}

function focusToken(form: HTMLFormElement | null) {
  form?.querySelector<HTMLInputElement>("input[type=password]")?.focus();
}
