import { render } from "preact";
import { startRouter } from "./router.ts";
import { App } from "./shell.tsx";
import "./style/index.css";

const place = document.getElementById("app");
if (place) {
  startRouter();
  render(<App />, place);
}
