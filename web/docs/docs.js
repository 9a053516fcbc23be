// Starts Swagger UI with this deployment's OpenAPI document.

const dark = matchMedia("(prefers-color-scheme: dark)");

main();

function main() {
  followColours();
  dark.addEventListener("change", followColours);
  new MutationObserver(fixAccessibility).observe(document.getElementById("docs"), { childList: true, subtree: true });
  SwaggerUIBundle({
    url: "/api/openapi.json",
    dom_id: "#docs",
    layout: "Page",
    plugins: [ourParts],
    deepLinking: true,
    // By default, Swagger UI sends the document's URL to a validator of its vendor.
    validatorUrl: null,
    // A token entered here is not stored beyond the page.
    persistAuthorization: false,
    displayRequestDuration: true,
    defaultModelsExpandDepth: 0,
    requestInterceptor: useSession,
  });
}

function followColours() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

/** Adds missing labels, corrects labels that differ from the visible text, and sets heading levels. */
function fixAccessibility() {
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

/** The server accepts a change with the session cookie only if the request has this header.
 * Webhook calls do not use the session, so they do not get it. */
function useSession(request) {
  const { origin, pathname } = new URL(request.url, location.href);
  const isManagement = origin === location.origin && !pathname.startsWith("/api/webhooks/");
  if (isManagement && !["GET", "HEAD"].includes((request.method ?? "GET").toUpperCase())) {
    request.headers["X-Console"] = "1";
  }
  return request;
}

/** Replaces parts of Swagger UI that do not work with a keyboard or a screen reader. */
function ourParts({ React: { createElement: h } }) {
  return { components: { Page, DeepLink, SyntaxHighlighter } };

  /** Without the server selection, since there is only this server; with landmarks and ordered headings. */
  function Page({ getComponent, specSelectors }) {
    const part = (name, isConnected) => h(getComponent(name, isConnected), { key: name });
    if (specSelectors.loadingStatus() !== "success") {
      const message = specSelectors.loadingStatus() === "failed" ? "openapi.json could not be loaded" : "Loading…";
      return h("p", { className: "wait", role: "status" }, message);
    }
    return h("div", { className: "swagger-ui" },
      part("SvgAssets"),
      part("errors", true),
      h("div", { className: "wrapper top" }, part("InfoContainer", true), part("AuthorizeBtnContainer", true)),
      h("h2", { className: "unseen" }, "Operations"),
      h("div", { className: "wrapper" }, part("operations", true), part("Models", true)));
  }

  /** Plain text: the button around it opens the operation and updates the URL. */
  function DeepLink({ text }) {
    return h("span", null, text);
  }

  /** Without colours, whose contrast is too low; can be scrolled by keyboard. */
  function SyntaxHighlighter({ className, children }) {
    return h("pre", { className: `microlight ${className ?? ""}`, tabIndex: 0 }, children);
  }
}
