// Starts Swagger UI over this deployment's own document.

const dark = matchMedia("(prefers-color-scheme: dark)");

main();

function main() {
  followColours();
  dark.addEventListener("change", followColours);
  new MutationObserver(mend).observe(document.getElementById("docs"), { childList: true, subtree: true });
  SwaggerUIBundle({
    url: "/api/openapi.json",
    dom_id: "#docs",
    layout: "Page",
    plugins: [ourParts],
    deepLinking: true,
    // Asks a service of its makers whether the document is valid.
    validatorUrl: null,
    // A token given here is forgotten with the page.
    persistAuthorization: false,
    displayRequestDuration: true,
    defaultModelsExpandDepth: 0,
    requestInterceptor: useSession,
  });
}

function followColours() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

/** What has no name, or another one than it shows, or is a heading out of order. */
function mend() {
  const parts = [
    ["select:not([id]):not([aria-label])", { "aria-label": "Example" }],
    [".close-modal:not([aria-label])", { "aria-label": "Close" }],
    [".auth-btn-wrapper [aria-label='Apply credentials']", { "aria-label": "Authorize: apply credentials" }],
    [".auth-btn-wrapper [aria-label='Remove authorization']", { "aria-label": "Logout: remove authorization" }],
    [".dialog-ux h3:not([role])", { role: "heading", "aria-level": "2" }],
    [".dialog-ux h4:not([role])", { role: "heading", "aria-level": "3" }],
    [".dialog-ux h6:not([role])", { role: "heading", "aria-level": "4" }],
  ];
  for (const [selector, attributes] of parts) {
    for (const element of document.querySelectorAll(selector)) {
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    }
  }
}

/** With this header the console's session counts for a change, which the browser sends by itself.
 * A webhook is called by whoever has its URL, and needs none. */
function useSession(request) {
  const { origin, pathname } = new URL(request.url, location.href);
  const isManagement = origin === location.origin && !pathname.startsWith("/api/webhooks/");
  if (isManagement && !["GET", "HEAD"].includes((request.method ?? "GET").toUpperCase())) {
    request.headers["X-Console"] = "1";
  }
  return request;
}

/** In place of parts of Swagger UI that a keyboard or a screen reader stumbles over. */
function ourParts({ React: { createElement: h } }) {
  return { components: { Page, DeepLink, SyntaxHighlighter } };

  /** There is one server, this one, so none to choose; landmarks and headings in order. */
  function Page({ getComponent, specSelectors }) {
    const part = (name, isConnected) => h(getComponent(name, isConnected), { key: name });
    if (specSelectors.loadingStatus() !== "success") {
      const message = specSelectors.loadingStatus() === "failed" ? "openapi.json cannot be read." : "Loading…";
      return h("p", { className: "wait", role: "status" }, message);
    }
    return h("div", { className: "swagger-ui" },
      part("SvgAssets"),
      part("errors", true),
      h("div", { className: "wrapper top" }, part("InfoContainer", true), part("AuthorizeBtnContainer", true)),
      h("h2", { className: "unseen" }, "Operations"),
      h("div", { className: "wrapper" }, part("operations", true), part("Models", true)));
  }

  /** The button around it opens the operation, and the address follows. */
  function DeepLink({ text }) {
    return h("span", null, text);
  }

  /** Plain, since its colours cannot be read by everybody; scrolled by keyboard, too. */
  function SyntaxHighlighter({ className, children }) {
    return h("pre", { className: `microlight ${className ?? ""}`, tabIndex: 0 }, children);
  }
}
