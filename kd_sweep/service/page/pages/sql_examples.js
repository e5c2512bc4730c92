// Statements to start from, by the table or view that each shows.

export const EXAMPLES = [
  ["trials", "Best trials", "SELECT study, trial_id, augmentation_strength, ensemble_size, best_objective\nFROM trials ORDER BY best_objective DESC NULLS LAST LIMIT 20"],
  ["trials", "Trials by status", "SELECT study, status, count(*) AS trials\nFROM trials GROUP BY ALL ORDER BY ALL"],
  ["trials", "Fidelity by strength and size", "SELECT study, augmentation_strength, ensemble_size,\n  avg(fidelity_val) AS fidelity, count(*) AS trials\nFROM trials WHERE status = 'completed' GROUP BY ALL ORDER BY ALL"],
  ["trials", "Failures", "SELECT study, trial_id, error FROM trials WHERE error IS NOT NULL"],
  ["epochs", "A metric over epochs", "SELECT study, epoch, median(val_accuracy) AS val_accuracy, count(*) AS trials\nFROM epochs GROUP BY ALL ORDER BY ALL"],
  ["epochs", "The slowest epochs", "SELECT study, trial_id, epoch, epoch_s, host\nFROM epochs ORDER BY epoch_s DESC NULLS LAST LIMIT 20"],
  ["teachers", "Teachers and their accuracy", "SELECT study, teacher_id, model, augmentation_strength, val_accuracy\nFROM teachers ORDER BY study, val_accuracy DESC"],
  ["teachers", "Students against their teachers", "SELECT study, augmentation_strength, avg(val_accuracy) AS students,\n  (SELECT avg(t.val_accuracy) FROM teachers t WHERE t.study = trials.study\n    AND t.augmentation_strength = trials.augmentation_strength) AS teachers\nFROM trials GROUP BY study, augmentation_strength ORDER BY ALL"],
  ["studies", "Studies and their samplers", "SELECT study, status, sampler, scheduler, num_planned, updated_at\nFROM studies ORDER BY updated_at DESC"],
  ["notes", "Notes", "SELECT study, trial_id, text, tags, author, written_at\nFROM notes ORDER BY written_at DESC"],
];
