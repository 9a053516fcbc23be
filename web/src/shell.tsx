import { useEffect, useState } from "preact/hooks";
import { type ApiError, asApiError, session } from "./api.ts";
import { SignIn } from "./pages/sign-in.tsx";
import { BASE, mayLeave, useIsAt, useLocation } from "./router.ts";
import { pageAt } from "./routes.tsx";
import { findSession, signOut } from "./session.ts";
import { useStore } from "./store.ts";
import { Questions } from "./ui/dialog.tsx";
import { ErrorState, Icon, type IconName, toast } from "./ui/index.ts";
import { Logo } from "./ui/icons.tsx";
import { Toasts } from "./ui/toast.tsx";

/**
 * The whole console. When a session ends while a page is open, the page is hidden until
 * the next sign-in, so that unsaved input is not lost.
 */
export function App() {
  const state = useStore(session);
  const [hasBegun, setHasBegun] = useState(false);
  const [problem, setProblem] = useState<ApiError>();
  const find = async () => setProblem(await findSession());
  useEffect(() => void find(), []);
  useEffect(() => {
    if (state === "in") setHasBegun(true);
  }, [state]);
  if (state === "unknown" && !hasBegun) return problem ? <Unreachable problem={problem} retry={find} /> : <Blank />;
  return (
    <>
      {state === "out" && <SignIn />}
      {(hasBegun || state === "in") && (
        <div hidden={state === "out"}>
          <Frame />
        </div>
      )}
      <Questions />
      <Toasts />
    </>
  );
}

function Frame() {
  const { path } = useLocation();
  return (
    <div class="frame">
      <a class="skip-link" href="#main" onClick={skip}>
        Skip to the content
      </a>
      <SideBar path={path} />
      <main class="main" id="main" tabIndex={-1}>
        {pageAt(path)}
      </main>
    </div>
  );
}

function SideBar({ path }: { path: string }) {
  const [open, setOpen] = useState(false);
  useEffect(() => setOpen(false), [path]);
  return (
    <header class="side">
      <div class="side-inner">
        <div class="side-top">
          <a class="brand" href={`${BASE}/`}>
            <Logo />
            Agent Webhooks
          </a>
          <button type="button" class="menu-button" aria-expanded={open} aria-controls="menu" onClick={() => setOpen(!open)}>
            <Icon name={open ? "close" : "menu"} />
            <span class="unseen">Menu</span>
          </button>
        </div>
        <div class={open ? "side-menu open" : "side-menu"} id="menu">
          <nav aria-label="Console">
            <ul>
              <NavLink to="/" icon="overview" label="Overview" />
              <NavLink to="/agents" icon="agents" label="Agents" />
              <NavLink to="/tasks" icon="tasks" label="Tasks" />
              <NavLink to="/audit" icon="audit" label="Audit log" />
            </ul>
          </nav>
          <div class="side-foot">
            <a class="nav-link" href="/api/docs">
              <Icon name="docs" />
              API docs
            </a>
            <button type="button" class="nav-link" onClick={leave}>
              <Icon name="exit" />
              Sign out
            </button>
          </div>
        </div>
      </div>
    </header>
  );
}

function NavLink({ to, icon, label }: { to: string; icon: IconName; label: string }) {
  const here = useIsAt(to);
  return (
    <li>
      <a class="nav-link" href={BASE + to} aria-current={here ? "page" : undefined}>
        <Icon name={icon} />
        {label}
      </a>
    </li>
  );
}

function skip(event: MouseEvent) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

/** Reloads the console, so that no data stays in memory. */
async function leave() {
  if (!(await mayLeave())) return;
  try {
    await signOut();
    window.location.replace(`${BASE}/`);
  } catch (error) {
    toast(`You are still signed in: ${asApiError(error).message}`, "bad");
  }
}

function Blank() {
  return <main class="frame" aria-busy="true" />;
}

function Unreachable({ problem, retry }: { problem: ApiError; retry: () => void }) {
  return (
    <main class="sign-in" id="main">
      <h1 class="unseen">Agent Webhooks</h1>
      <ErrorState title="The console could not start" error={problem} retry={retry} />
    </main>
  );
}
