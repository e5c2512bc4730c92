// Study files to start from: all of them run anywhere, on images that come with the service.

const HEAD = `data: {name: digits, image_size: 16}
teacher: {model: resnet8, width: 16, epochs: 8}
student: {model: resnet8, width: 8, epochs: 8}
distillation: {loss: kl, temperature: 4.0, alpha: 0.1}
`;

// Pairs of a name and a text; the first one is what a new study begins with.
export const TEMPLATES = [
  ["First steps: a grid on digits", `# A study file. docs/study-files.md describes every field.
name: first
data: {name: digits, image_size: 8}
teacher: {model: resnet8, width: 8, epochs: 10}
student: {model: resnet8, width: 8, epochs: 10}
search:
  augmentation_strength: {grid: [0.0, 0.5, 1.0]}
  ensemble_size: {grid: [1, 2]}
`],
  ["Strength and ensemble size, with seeds", `# Three seeds for each setting give intervals and verdicts.
name: strength-and-size
${HEAD}search:
  augmentation_strength: {grid: [0.0, 0.25, 0.5]} # 0: clean images, 1: the strongest
  ensemble_size: {grid: [1, 2, 3]} # how many teachers
seeds: 3
`],
  ["Adaptive: Optuna's TPE, poor trials stop", `# The sampler learns from the trials so far; a trial below the median of the others stops.
name: adaptive
${HEAD}search:
  augmentation_strength: {uniform: [0, 1], step: 0.05} # in steps, so that trials share teachers
  ensemble_size: {int: [1, 3]}
  distillation.alpha: {uniform: [0, 1]}
objectives:
  - {metric: val_accuracy, mode: max}
sampler: {name: tpe, num_trials: 16, num_startup_trials: 6}
scheduler: {name: median, grace_period: 3, min_trials: 4}
`],
  ["Random draws with ASHA", `# Many short trials, of which the better half goes on after 2 and 4 epochs.
name: asha
${HEAD}search:
  augmentation_strength: {choice: [0.0, 0.25, 0.5]}
  ensemble_size: {int: [1, 3]}
  student.learning_rate: {uniform: [0.001, 1.0], log: true}
sampler: {name: random, num_trials: 24}
scheduler: {name: asha, metric: val_accuracy, mode: max, grace_period: 2, reduction_factor: 2}
`],
  ["Two objectives: accuracy and fidelity", `# A Pareto set: students that are accurate, and students that agree with their teachers.
name: pareto
${HEAD}search:
  augmentation_strength: {uniform: [0, 1], step: 0.1}
  ensemble_size: {int: [1, 3]}
  distillation.temperature: {uniform: [1, 8], step: 0.5}
objectives:
  - {metric: val_accuracy, mode: max}
  - {metric: fidelity_val, mode: max}
sampler: {name: nsga2, num_trials: 24, population_size: 8}
`],
  ["Teachers that differ", `# Each teacher has a network of its own; a larger ensemble goes through the list again.
name: mixed
${HEAD}teachers:
  - {model: resnet8}
  - {model: resnet14}
search:
  augmentation_strength: {grid: [0.0, 0.5]}
  ensemble_size: {grid: [2]}
seeds: 3
`],
];
