import { Button, ErrorNote } from "../ui/index.ts";
import type { Editor } from "./save.ts";

/** At the foot of the window while there is something to save. */
export function SaveBar({ editor }: { editor: Editor }) {
  return (
    <div class={editor.dirty || editor.refusal ? "save-bar shown" : "save-bar"}>
      {editor.refusal && <ErrorNote error={editor.refusal} />}
      {editor.dirty && (
        <div class="save-row">
          <span>Unsaved changes</span>
          <Button onClick={editor.discard}>Discard</Button>
          <Button kind="primary" type="submit" busy={editor.busy}>
            Save
          </Button>
        </div>
      )}
    </div>
  );
}
