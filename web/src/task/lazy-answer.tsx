// The Markdown parser is a third of the console, so it is loaded with the first answer.
import { lazy } from "../lazy.tsx";

export const AnswerText = lazy(() => import("./answer.tsx").then((file) => file.AnswerText));
