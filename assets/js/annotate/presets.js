// Forms to begin with. What makes a rating or a correction an example for training, docs/annotating.md says.

export const PRESETS = {
  "Rate a reply": [
    { name: "quality", type: "scale", label: "How good is the reply?", min: 1, max: 5, labels: { 1: "useless", 5: "perfect" }, required: true, use: "rating" },
    { name: "problems", type: "chips", label: "What is wrong with it?", options: ["invented object", "wrong count", "wrong attribute", "wrong place", "misread text", "style"] },
    { name: "comment", type: "text", label: "Comment" },
  ],
  "Correct a reply": [
    { name: "right", type: "choice", label: "Is the reply right?", options: ["yes", "partly", "no"], required: true },
    { name: "correction", type: "correction", label: "What should it say?", help: "Leave it as it is where nothing is wrong." },
  ],
  "Rank several replies": [
    { name: "order", type: "best_of", label: "Put the replies in order, best first", required: true },
    { name: "why", type: "text", label: "What decided it?" },
  ],
  "Mark what is wrong": [
    { name: "marks", type: "spans", label: "Mark what is wrong in the reply", labels: ["invented", "wrong", "unclear"] },
    { name: "where", type: "boxes", label: "Draw a box around what it is about", labels: ["thing"] },
    { name: "grounded", type: "scale", label: "How much of the reply can be seen in the picture?", min: 1, max: 5, labels: { 1: "nothing", 5: "all" }, required: true },
  ],
};

/** Something to show a form with. */
export const SAMPLE = {
  id: "sample", number: 1, total: 1, pictures: [], turns: [],
  replies: [{ text: "There are two red circles and a blue square." }, { text: "Two circles and one square." }],
};
